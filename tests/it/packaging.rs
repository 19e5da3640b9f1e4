//! What packages install agrees with the program: its variables, their defaults, and its version.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use docker_exit_exporter::config::{Command, HELP};

/// The variables in the order of `--help`, with their defaults. Those that are refused have none.
fn variables() -> BTreeMap<&'static str, Option<&'static str>> {
    let flags = HELP.lines().skip_while(|line| !line.starts_with("  flag "));
    let variables = flags.skip(1).take_while(|line| !line.is_empty());
    let variables: BTreeMap<_, _> = variables
        .map(|line| {
            let name = line.split_whitespace().find(|word| is_variable(word));
            let default = line.rsplit_once(": ").map(|(_, default)| default);
            let refused = line.contains(" nothing: ");
            (name.expect(line), default.filter(|_| !refused))
        })
        .collect();
    assert!(variables.len() >= 8, "{variables:?}");
    variables
}

/// `PORT` beside `--port` has no underscore, and `EVENTS` is longer.
fn is_variable(word: &str) -> bool {
    let letters = word.bytes().all(|it| it.is_ascii_uppercase() || it == b'_');
    letters && (word.contains('_') || word == "EVENTS")
}

#[test]
fn the_settings_file_names_all_variables_with_their_defaults() {
    let file = read("deploy/docker-exit-exporter.default");
    let named: BTreeMap<_, _> = file
        .lines()
        .filter_map(|line| line.strip_prefix('#')?.split_once('='))
        .filter(|(name, _)| is_variable(name))
        .collect();
    let wanted = variables().into_iter();
    let wanted: BTreeMap<_, _> = wanted.filter_map(|(name, it)| Some((name, it?))).collect();
    assert_eq!(named, wanted);
    for line in file.lines() {
        assert!(line.is_empty() || line.starts_with('#'), "it sets {line}");
    }

    let lookup = |name: &str| named.get(name).map(OsString::from);
    let Command::Serve(default) = Command::parse([], |_| None).unwrap() else {
        panic!("it does not serve");
    };
    let Command::Serve(mut config) = Command::parse([], lookup).unwrap() else {
        panic!("it does not serve");
    };
    config.log = None; // The default depends on the command.
    assert_eq!(config, default);
}

#[test]
fn the_documentation_names_all_variables_with_their_defaults() {
    let page = read("docs/configuration.md");
    for (name, default) in variables() {
        let default = default.map(|it| format!("| `{it}` |")).unwrap_or_default();
        let mut rows = page.lines().filter(|line| line.starts_with("| `"));
        let found = rows.any(|row| row.contains(&format!("`{name}`")) && row.contains(&default));
        assert!(
            found,
            "docs/configuration.md has no row for {name} {default}"
        );
    }
}

#[test]
fn compose_and_stack_take_variables_with_the_defaults_of_the_program() {
    let variables = variables();
    for file in ["docker-compose.yml", "docker-stack.yml"] {
        let text = read(file);
        for name in ["EXPORTER_PORT", "COLLECTION_INTERVAL"] {
            let default = variables[name].unwrap();
            assert!(text.contains(&format!("${{{name}:-{default}}}")), "{file}");
        }
        assert!(
            text.contains("image: ${IMAGE:-docker-exit-exporter}\n"),
            "{file}"
        );
    }
}

#[test]
fn the_debian_package_has_the_version_of_the_program() {
    let changelog = read("deploy/debian/changelog");
    let wanted = format!("docker-exit-exporter ({}-", env!("CARGO_PKG_VERSION"));
    assert!(changelog.starts_with(&wanted), "{changelog}");
}

#[test]
fn the_debian_package_has_the_licence() {
    let copyright = words(&read("deploy/debian/copyright")).replace(" . ", " ");
    let licence = read("LICENSE");
    let (_, terms) = licence.split_once("\n\nPermission").unwrap();
    assert!(copyright.ends_with(&words(&format!("Permission{terms}"))));
}

/// The same, however its lines are broken.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A file of the project.
fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
