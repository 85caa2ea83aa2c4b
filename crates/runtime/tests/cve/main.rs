//! The attacks of every published CVE of runc, crun and youki, on real containers. `docs/security.md` lists them.

#[path = "../common/mod.rs"]
mod common;

mod attacker;
mod descriptors;
mod images;
mod paths;
mod races;
mod reach;
mod rights;

use std::path::PathBuf;

use common::Bench;
use oci::runtime::Mount;

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        kind: Some(kind.into()),
        source: Some(source.into()),
        options: options.iter().map(|s| s.to_string()).collect(),
        ..Default::default()
    }
}

/// A directory of the host, with a file whose contents nobody inside may ever see.
fn victim(b: &Bench) -> PathBuf {
    let directory = b.directory.path().join("victim");
    std::fs::create_dir(&directory).expect("mkdir");
    std::fs::write(directory.join("secret"), "the host's\n").expect("write");
    directory
}

/// Nothing was made, changed or removed in the victim.
fn assert_untouched(victim: &std::path::Path) {
    let names: Vec<_> = std::fs::read_dir(victim).expect("victim").map(|e| e.expect("entry").file_name()).collect();
    assert_eq!(names, ["secret"], "something was made outside");
    assert_eq!(std::fs::read_to_string(victim.join("secret")).expect("secret"), "the host's\n");
}

/// All capabilities, which is more than an attacker should need.
fn all_capabilities(b: &mut Bench) {
    let text = b.call(&["features"]);
    let features: serde_json::Value = serde_json::from_slice(&text.stdout).expect("features");
    let names: Vec<String> = serde_json::from_value(features["linux"]["capabilities"].clone()).expect("names");
    let sets = b.process().capabilities.as_mut().expect("capabilities");
    for set in [&mut sets.bounding, &mut sets.permitted, &mut sets.effective] {
        *set = names.clone();
    }
    b.process().no_new_privileges = false;
}

/// `docs/security.md` is true: what it names as a test is one, and no vulnerability that a test speaks of is missing.
#[test]
fn the_table_names_what_there_is() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("../../docs/security.md")).expect("docs/security.md");
    let mut sources = String::new();
    for entry in std::fs::read_dir(root.join("tests/cve")).expect("tests").flatten() {
        sources += &std::fs::read_to_string(entry.path()).expect("source");
    }
    let rootless = std::fs::read_to_string(root.join("tests/rootless.rs")).expect("source");
    let names: Vec<&str> = table
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|word| word.split_once("::"))
        .filter(|(module, name)| *name != "*" && root.join(format!("tests/cve/{module}.rs")).exists())
        .map(|(_, name)| name)
        .collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        assert!(sources.contains(&format!("fn {name}()")), "{name} is no test");
    }
    for word in sources.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').chain(rootless.split_whitespace()) {
        if word.starts_with("CVE-2") {
            let word = word.trim_end_matches([':', ',', '.']);
            assert!(table.contains(word), "{word} is not in the table");
        }
    }
}
