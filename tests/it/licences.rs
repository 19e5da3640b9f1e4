//! `THIRD_PARTY_LICENSES` names each crate that is compiled into the program, and has its copyright and licence.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it licences::` renews the list of crates; the texts below it are kept by hand.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

/// The platforms of the image.
const TARGETS: [&str; 3] = [
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
    "armv7-unknown-linux-musleabihf",
];
/// What the list of crates stands between.
const LIST: (&str, &str) = ("Crates\n------\n", "\nRust's standard library\n---");
/// What the image has room for, in bytes.
const MAX_SIZE: usize = 25_000;

#[test]
fn every_crate_in_the_program_has_its_licence() {
    let path = project("THIRD_PARTY_LICENSES");
    let mut file = fs::read_to_string(&path).unwrap();
    let crates = crates();
    assert!(!crates.is_empty());

    let list: Vec<_> = crates.iter().map(Crate::entry).collect();
    let list = format!("\n{}", list.join("\n"));
    let (before, rest) = file.split_once(LIST.0).unwrap();
    let (listed, after) = rest.split_once(LIST.1).unwrap();
    if env::var_os("UPDATE_GOLDEN").is_some() {
        file = [before, LIST.0, &list, LIST.1, after].concat();
        fs::write(&path, &file).unwrap();
    } else {
        let differs = listed
            .lines()
            .zip(list.lines())
            .find(|(old, new)| old != new);
        assert!(
            listed == list,
            "{} differs, first here: {differs:#?}",
            path.display()
        );
    }

    let file = words(&file);
    for it in &crates {
        for text in it.notices() {
            assert!(
                file.contains(&words(&text)),
                "{} lacks this, of {}: {text}",
                path.display(),
                it.name
            );
        }
    }
}

#[test]
fn the_licences_are_small_enough_for_the_image() {
    let size = fs::read(project("THIRD_PARTY_LICENSES")).unwrap().len();
    assert!(size <= MAX_SIZE, "{size} bytes");
}

/// A crate that is compiled into the program.
struct Crate {
    name: String,
    version: String,
    licence: String,
    folder: PathBuf,
}

impl Crate {
    fn is_mit(&self) -> bool {
        self.licence.split([' ', '/']).any(|word| word == "MIT")
    }

    /// What it is listed as: name, version, licence and lines of copyright.
    fn entry(&self) -> String {
        let mut entry = format!("{} {} ({})\n", self.name, self.version, self.licence);
        let text = self.text();
        // The licence itself has lines that begin with this word as well.
        let head = text.split("Permission is hereby granted").next().unwrap();
        for line in head.lines().map(str::trim) {
            if line.starts_with("Copyright ") {
                entry += &format!("    {line}\n");
            }
        }
        entry
    }

    /// The licence that this program takes it under: MIT where it is offered.
    fn text(&self) -> String {
        let names: &[&str] = if self.is_mit() {
            &[
                "LICENSE-MIT",
                "LICENSE-MIT.md",
                "LICENSE-MIT.txt",
                "LICENSE",
                "LICENSE.md",
            ]
        } else {
            &["LICENSE"]
        };
        let mut paths = names.iter().map(|name| self.folder.join(name));
        let text = paths.find_map(|path| fs::read_to_string(path).ok());
        text.unwrap_or_else(|| panic!("{} has no file that is known", self.name))
    }

    /// What has to go along with it, beside its copyright: the licence, and notices if there are any.
    fn notices(&self) -> Vec<String> {
        let text = self.text();
        let start = if self.is_mit() {
            text.find("Permission is hereby granted").unwrap()
        } else {
            0
        };
        let mut all = vec![text[start..].to_owned()];
        for entry in fs::read_dir(&self.folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_ascii_uppercase();
            if name.to_string_lossy().starts_with("NOTICE") {
                all.push(fs::read_to_string(path).unwrap());
            }
        }
        all
    }
}

/// All crates that are compiled into the program, in the order of their names.
fn crates() -> Vec<Crate> {
    let mut arguments = vec![
        "--package",
        env!("CARGO_PKG_NAME"),
        "--edges=normal,no-proc-macro",
        "--prefix=none",
        "--format={p}",
    ];
    for target in TARGETS {
        arguments.extend(["--target", target]);
    }
    let tree = cargo("tree", &arguments);
    // "name v1.2.3", and more behind it where it was named before or comes from a folder.
    let tree: BTreeSet<_> = tree
        .lines()
        .filter_map(|line| line.split_once(" v"))
        .map(|(name, rest)| (name, rest.split(' ').next().unwrap()))
        .collect();

    // Else Cargo wants those of other systems as well.
    let metadata = cargo(
        "metadata",
        &["--format-version=1", "--filter-platform", TARGETS[0]],
    );
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages: HashMap<_, _> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| ((text(&it["name"]), text(&it["version"])), it))
        .collect();

    tree.into_iter()
        .filter(|(name, _)| *name != env!("CARGO_PKG_NAME"))
        .map(|(name, version)| {
            let package = packages[&(name, version)];
            Crate {
                name: name.to_owned(),
                version: version.to_owned(),
                licence: text(&package["license"]).to_owned(),
                folder: Path::new(text(&package["manifest_path"]))
                    .parent()
                    .unwrap()
                    .to_owned(),
            }
        })
        .collect()
}

/// What Cargo says of this project, from what is on this machine.
fn cargo(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args([command, "--offline", "--locked"])
        .args(arguments)
        .current_dir(project(""))
        .output()
        .expect("cargo should start");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {command}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The same, however its lines are broken.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A file of the project.
fn project(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}
