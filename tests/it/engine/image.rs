//! The image, made of a static binary and run in every way that an operator would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::support::dockerd::{Engine, IMAGE};
use crate::support::exporter::{Scraped, free_port, is_down, is_up};
use crate::support::waiting::{PATIENCE, eventually};

/// The image's name in the tests' Engines.
const EXPORTER: &str = "docker-exit-exporter-test";
/// What the image may take on disk, in bytes.
const MAX_SIZE: u64 = 5_000_000;
/// What goes along with the program in the image.
const LICENCES: [&str; 2] = ["LICENSE", "THIRD_PARTY_LICENSES"];
/// The folder in `dist/` for this machine's binary.
const PLATFORM: &str = if cfg!(target_arch = "x86_64") {
    "linux-amd64"
} else if cfg!(target_arch = "aarch64") {
    "linux-arm64"
} else {
    "linux-armv7"
};
/// How long `docker stop` may take: well under the ten seconds after which Docker kills.
const AT_ONCE: Duration = Duration::from_secs(3);

/// The hardening that `docker-compose.yml` has, line by line, and what says the same to `docker run`.
const COMPOSE: [(&str, &str); 7] = [
    ("    read_only: true", "--read-only"),
    ("    cap_drop: [ALL]", "--cap-drop=ALL"),
    ("    cap_add: [SETUID, SETGID]", "--cap-add=SETUID"),
    ("    cap_add: [SETUID, SETGID]", "--cap-add=SETGID"),
    (
        "    security_opt: [\"no-new-privileges:true\"]",
        "--security-opt=no-new-privileges:true",
    ),
    ("    mem_limit: 128m", "--memory=128m"),
    ("    pids_limit: 256", "--pids-limit=256"),
];

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn the_image_is_small_and_runs_with_no_flags_as_nobody() {
    let engine = engine_with_image();
    let size = engine.docker(&["image", "inspect", "--format", "{{.Size}}", EXPORTER]);
    println!("{size} bytes");
    assert!(size.parse::<u64>().unwrap() <= MAX_SIZE, "{size} bytes");
    let logs = run_scrape_stop(&engine, &[]);
    assert!(!logs.contains("WARN"), "{logs}");
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn the_image_has_the_program_and_its_licences_and_no_more() {
    let engine = Engine::new();
    let files = engine.folder.join("files");
    build(&engine, &format!("--output={}", files.display()));
    let entries = fs::read_dir(&files).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["LICENSE", "THIRD_PARTY_LICENSES", "docker-exit-exporter"]
    );
    for name in LICENCES {
        let file = fs::read(files.join(name)).unwrap();
        assert_eq!(file, fs::read(project(name)).unwrap(), "{name}");
    }
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn the_image_runs_as_a_user_with_the_group_of_the_socket() {
    let engine = engine_with_image();
    let gid = engine.socket_group();
    for flags in [
        &["--user=65534", &format!("--group-add={gid}")][..],
        &[&format!("--user=65534:{gid}")],
        &[
            &format!("--user=1234:{gid}"),
            "--read-only",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
        ],
    ] {
        let logs = run_scrape_stop(&engine, flags);
        assert!(!logs.contains("WARN"), "{flags:?}: {logs}");
    }
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn the_image_without_any_capability_says_once_that_it_stays_root() {
    let engine = engine_with_image();
    let flags = [
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
    ];
    let logs = run_scrape_stop(&engine, &flags);
    assert_eq!(
        logs.lines().filter(|line| line.contains("root")).count(),
        1,
        "{logs}"
    );
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn the_image_runs_under_the_settings_of_the_compose_file() {
    let engine = engine_with_image();
    let compose = fs::read_to_string(project("docker-compose.yml")).unwrap();
    for (line, _) in COMPOSE {
        assert!(
            compose.lines().any(|other| other == line),
            "docker-compose.yml has no line {line:?}"
        );
    }
    let logs = run_scrape_stop(&engine, &COMPOSE.map(|(_, flag)| flag));
    assert!(!logs.contains("WARN"), "{logs}");
}

/// As on a host whose daemon is down: whoever waits for the socket as root must end like the rest.
#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn the_image_without_a_socket_serves_and_ends_at_once() {
    let engine = engine_with_image();
    let (name, port) = (engine.name("exporter"), free_port());
    let environment = format!("--env=EXPORTER_PORT={port}");
    engine.docker(&[
        "run",
        "--detach",
        "--name",
        &name,
        "--network=host",
        &environment,
        EXPORTER,
    ]);
    Container {
        engine: &engine,
        port,
    }
    .until("run without a socket", is_down);
    stop(&engine);
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn the_image_turns_healthy_by_itself() {
    let engine = engine_with_image();
    let check = engine.docker(&[
        "image",
        "inspect",
        "--format",
        "{{json .Config.Healthcheck.Test}}",
        EXPORTER,
    ]);
    assert_eq!(check, r#"["CMD","/docker-exit-exporter","healthcheck"]"#);
    // Its own interval would be the test's longest wait. It has no network, so this is the default port, alone.
    engine.docker(
        &[
            &[
                "run",
                "--detach",
                "--name",
                &engine.name("exporter"),
                "--network=none",
                "--health-interval=1s",
            ][..],
            &[&mount(&engine), EXPORTER],
        ]
        .concat(),
    );
    let healthy = eventually(
        PATIENCE,
        || match &engine.inspect("exporter")["State"]["Health"] {
            health if health["Status"] == "healthy" => Ok(()),
            health => Err(health.to_string()),
        },
    );
    healthy.unwrap_or_else(|health| panic!("{health}\n{}", logs(&engine)));
}

/// What a user builds from is let through by `.dockerignore`, and nothing of what only weighs.
#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn the_build_sees_the_sources_and_no_more() {
    let engine = Engine::new();
    let (dockerfile, seen) = (engine.folder.join("Dockerfile"), engine.folder.join("seen"));
    fs::write(&dockerfile, "FROM scratch\nCOPY . /\n").unwrap();
    let output = format!("--output={}", seen.display());
    engine.docker(&[
        "build",
        "--file",
        &dockerfile.display().to_string(),
        &output,
        &project("").display().to_string(),
    ]);
    let sources = [
        "Cargo.toml",
        "Cargo.lock",
        "benches/Cargo.toml",
        "examples/Cargo.toml",
        "tests/support/Cargo.toml",
        "src/main.rs",
    ];
    for wanted in sources.iter().chain(&LICENCES) {
        assert!(
            seen.join(wanted).exists(),
            "the build does not get {wanted}"
        );
    }
    for unwanted in ["target", ".git", "tests/it", "examples/demo.rs", "fixtures"] {
        assert!(!seen.join(unwanted).exists(), "the build gets {unwanted}");
    }
}

/// Runs the image with these options and the socket in its usual place, read-only; scrapes it, looks who it is, and
/// stops it. What it logged.
fn run_scrape_stop(engine: &Engine, flags: &[&str]) -> String {
    let (name, port) = (engine.name("exporter"), free_port());
    // The host's network, so that the test can reach it: this Engine has no other.
    let (environment, mount) = (format!("--env=EXPORTER_PORT={port}"), mount(engine));
    let run = [
        "run",
        "--detach",
        "--name",
        &name,
        "--network=host",
        &environment,
        &mount,
    ];
    engine.docker(&[&run, flags, &[EXPORTER]].concat());
    let exporter = Container { engine, port };
    exporter.until(&format!("run with {flags:?}"), |metrics| {
        is_up(metrics)?;
        for code in [0_u8, 3] {
            let container = engine.name(&code.to_string());
            let shown = metrics.value("container_exit_code", &[("name", &container)]);
            if shown != Some(code.into()) {
                return Err(format!("the code of {container} is {shown:?}"));
            }
        }
        Ok(())
    });

    let pid = engine.inspect("exporter")["State"]["Pid"].to_string();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let user = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:\t"))
        .unwrap();
    let wanted = match flags.iter().find_map(|flag| flag.strip_prefix("--user=")) {
        Some(user) => user.split(':').next().unwrap(),
        None if flags.contains(&"--cap-drop=ALL") && !flags.contains(&"--cap-add=SETUID") => "0",
        None => "65534",
    };
    assert_eq!(
        user,
        [wanted; 4].join("\t"),
        "with {flags:?}:\n{}",
        logs(engine)
    );
    assert!(status.contains("NoNewPrivs:\t1\n"), "with {flags:?}");

    let logs = stop(engine);
    engine.docker(&["rm", &name]);
    logs
}

/// `docker stop`, which must not have to kill it. What it logged.
fn stop(engine: &Engine) -> String {
    let before = Instant::now();
    engine.docker(&["stop", &engine.name("exporter")]);
    let took = before.elapsed();
    let (state, logs) = (&engine.inspect("exporter")["State"], logs(engine));
    println!("ended after {took:?}:\n{logs}");
    assert!(
        state["ExitCode"] == 0 && took < AT_ONCE,
        "stopped after {took:?}: {state}\n{logs}"
    );
    logs
}

/// The exporter's container.
struct Container<'a> {
    engine: &'a Engine,
    port: u16,
}

impl Scraped for Container<'_> {
    fn port(&self) -> u16 {
        self.port
    }

    fn said(&self) -> String {
        logs(self.engine)
    }

    fn has_ended(&self) -> bool {
        self.engine.inspect("exporter")["State"]["Running"] == false
    }
}

fn mount(engine: &Engine) -> String {
    format!(
        "--volume={}:/var/run/docker.sock:ro",
        engine.socket().display()
    )
}

/// What the exporter's container logged.
fn logs(engine: &Engine) -> String {
    engine.logs("exporter")
}

/// An Engine with the exporter's image and two exits to show.
fn engine_with_image() -> Engine {
    let engine = Engine::new();
    build_image(&engine, EXPORTER);
    for code in ["0", "3"] {
        engine.run(
            code,
            &["--network=none", IMAGE, "sh", "-c", &format!("exit {code}")],
        );
    }
    engine
}

/// One binary must not serve all platforms.
#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_prebuilt_image_takes_the_binary_of_its_own_platform() {
    let engine = Engine::new();
    let context = engine.folder.join("context");
    let platforms = [
        ("linux/amd64", "linux-amd64"),
        ("linux/arm64", "linux-arm64"),
        ("linux/arm/v7", "linux-armv7"),
    ];
    for (_, folder) in platforms {
        let folder = context.join("dist").join(folder);
        fs::create_dir_all(&folder).unwrap();
        let text = folder.file_name().unwrap().to_str().unwrap();
        fs::write(folder.join("docker-exit-exporter"), text).unwrap();
    }
    for file in ["Dockerfile", ".dockerignore"].iter().chain(&LICENCES) {
        fs::copy(project(file), context.join(file)).unwrap();
    }
    let build = |platform: &str| {
        let files = engine.folder.join("files");
        let _ = fs::remove_dir_all(&files);
        engine.try_docker(&[
            "build",
            "--build-arg",
            "BINARY=prebuilt",
            "--platform",
            platform,
            &format!("--output={}", files.display()),
            &context.display().to_string(),
        ])?;
        Ok::<_, String>(fs::read_to_string(files.join("docker-exit-exporter")).unwrap())
    };
    for (platform, folder) in platforms {
        assert_eq!(build(platform).as_deref(), Ok(folder), "{platform}");
    }
    fs::remove_dir_all(context.join("dist/linux-arm64")).unwrap();
    fs::write(context.join("dist/docker-exit-exporter"), "any").unwrap();
    let refused = build("linux/arm64").unwrap_err();
    assert!(refused.contains("linux-arm64"), "{refused}");
}

/// Builds the exporter's image under that name.
pub(crate) fn build_image(engine: &Engine, name: &str) {
    build(engine, &format!("--tag={name}"));
}

/// Builds the exporter's image, and does with it what this option says.
fn build(engine: &Engine, option: &str) {
    let context = engine.folder.join("context");
    let dist = context.join("dist").join(PLATFORM);
    fs::create_dir_all(&dist).unwrap();
    fs::copy(static_binary(), dist.join("docker-exit-exporter")).unwrap();
    for file in ["Dockerfile", ".dockerignore"].iter().chain(&LICENCES) {
        fs::copy(project(file), context.join(file)).unwrap();
    }
    engine.docker(&[
        "build",
        "--build-arg",
        "BINARY=prebuilt",
        option,
        &context.display().to_string(),
    ]);
}

/// The release build as one static file for this machine, made once for all tests.
///
/// The GNU target with its C library linked in, because a Rust toolchain need not have a musl one; the image that
/// users build has that.
fn static_binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let rustc = Command::new("rustc")
            .arg("-vV")
            .output()
            .expect("there should be a rustc");
        let version = String::from_utf8(rustc.stdout).unwrap();
        let host = version
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("static");
        let output = Command::new(env!("CARGO"))
            .args([
                "build",
                "--release",
                "--locked",
                "--target",
                host,
                "--target-dir",
            ])
            .arg(&folder)
            .current_dir(project(""))
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .output()
            .expect("cargo should start");
        assert!(
            output.status.success(),
            "no static binary: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        folder.join(host).join("release/docker-exit-exporter")
    })
}

/// A file of the project.
pub(crate) fn project(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}
