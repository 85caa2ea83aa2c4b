//! The rules of the house, checked: who may depend on whom, where `unsafe` may stand, and that
//! the documents name only paths that exist.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The rows of the drawing in ARCHITECTURE.md. A crate depends on lower rows only.
const ROWS: &[(&str, u32)] = &[
    ("sampan-sys", 0),
    ("sampan-oci", 0),
    ("sampan-hello", 0),
    ("sampan-init", 1),
    ("sampan-wire", 1),
    ("sampan-runtime", 2),
    ("sampan-shim", 2),
    ("sampan-storage", 2),
    ("sampan-registry", 2),
    ("sampan-network", 2),
    ("sampan-engine", 3),
    ("sampand", 4),
    ("sampan", 4),
    ("sampan-tests", 5),
];

fn crates() -> Vec<(PathBuf, toml::Table)> {
    let root = sampan_tests::workspace();
    let mut manifests: Vec<PathBuf> = std::fs::read_dir(root.join("crates"))
        .expect("crates/")
        .map(|entry| entry.expect("an entry").path().join("Cargo.toml"))
        .filter(|path| path.exists())
        .collect();
    manifests.push(root.join("tests/Cargo.toml"));
    manifests
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a manifest");
            let table = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path, table)
        })
        .collect()
}

fn name_of(manifest: &toml::Table) -> String {
    manifest["package"]["name"].as_str().expect("a name").to_owned()
}

#[test]
fn crates_depend_only_downwards() {
    let rows: BTreeMap<&str, u32> = ROWS.iter().copied().collect();
    let root: toml::Table = std::fs::read_to_string(sampan_tests::workspace().join("Cargo.toml"))
        .expect("the workspace's manifest")
        .parse()
        .expect("valid TOML");
    let package_of = |alias: &str| -> String {
        let entry = root["workspace"]["dependencies"].get(alias);
        entry.and_then(|e| e.get("package")).and_then(|p| p.as_str()).unwrap_or(alias).to_owned()
    };
    let mut wrong = Vec::new();
    for (path, manifest) in crates() {
        let name = name_of(&manifest);
        let row = *rows.get(name.as_str()).unwrap_or_else(|| panic!("{name} has no row in ROWS: {}", path.display()));
        for (dependency, _) in manifest.get("dependencies").and_then(|d| d.as_table()).into_iter().flatten() {
            let package = package_of(dependency);
            if rows.get(package.as_str()).is_some_and(|other| *other >= row) {
                wrong.push(format!("{name} depends on {package}"));
            }
        }
    }
    assert!(wrong.is_empty(), "dependencies point downwards only: {wrong:?}");
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn unsafe_stands_only_in_sys_and_every_crate_takes_the_lints() {
    for (path, manifest) in crates() {
        if name_of(&manifest) != "sampan-sys" {
            let inherits = manifest.get("lints").and_then(|l| l.get("workspace")).and_then(|w| w.as_bool());
            assert_eq!(inherits, Some(true), "{} does not take the workspace's lints", path.display());
        }
    }
    let mut files = Vec::new();
    sources(&sampan_tests::workspace().join("crates/sys/src"), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            if line.contains("unsafe {") && !line.trim_start().starts_with("//") {
                let reasoned = lines[number.saturating_sub(12)..=number].iter().any(|l| l.contains("SAFETY:"));
                assert!(reasoned, "{}:{}: an unsafe block without its reason", file.display(), number + 1);
            }
        }
    }
}

#[test]
fn documents_name_only_paths_that_exist() {
    let root = sampan_tests::workspace();
    let mut missing = Vec::new();
    let mut documents = vec!["ARCHITECTURE.md".to_owned(), "README.md".into(), "CONTRIBUTING.md".into()];
    for entry in std::fs::read_dir(root.join("docs")).expect("docs").flatten() {
        documents.push(format!("docs/{}", entry.file_name().to_string_lossy()));
    }
    for document in documents {
        let text = std::fs::read_to_string(root.join(&document)).unwrap_or_else(|e| panic!("{document}: {e}"));
        let mut named = 0;
        for word in text.split('`').skip(1).step_by(2) {
            let plain = word.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
            let ours = ["crates/", "tests/", "docs/", "scripts/", "dist/", ".ci/"].iter().any(|p| word.starts_with(p));
            if plain && ours {
                named += 1;
                if !root.join(word).exists() {
                    missing.push(format!("{document}: {word}"));
                }
            }
        }
        assert!(document != "ARCHITECTURE.md" || named >= 20, "ARCHITECTURE.md names only {named} paths");
    }
    assert!(missing.is_empty(), "paths that do not exist: {missing:?}");
}
