//! The same scenarios under Debian's `runc` and under ours give the same observable results.
//!
//! `scenarios.txt` has one scenario a line: its name, changes to the configuration, steps. Where the two differ on
//! purpose, [`DIFFERENCES`] says why; a difference that is listed must exist. `docs/runtime-peers.md` has the same table.

#[path = "../common/mod.rs"]
mod common;
mod differences;
mod run;

use differences::DIFFERENCES;
use run::{Scenario, Seen, scenarios};

/// Part `part` of `PARTS`; the parts run side by side.
const PARTS: usize = 4;

fn compare(part: usize) {
    if !run::installed() {
        return;
    }
    let all = scenarios();
    let mine = all.iter().enumerate().filter(|(i, _)| i % PARTS == part).map(|(_, s)| s);
    let (mut wrong, mut count) = (Vec::new(), 0);
    for scenario in mine {
        let Some(theirs) = scenario.run("runc") else { return };
        let Some(ours) = scenario.run(common::RUNTIME) else { return };
        count += 1;
        let listed = DIFFERENCES.iter().find(|d| d.0 == scenario.name);
        match (listed, theirs == ours) {
            (None, false) => wrong.push(show(scenario, &theirs, &ours)),
            (Some(_), true) => wrong.push(format!("{}: is listed as a difference, and is none", scenario.name)),
            _ => {}
        }
    }
    println!("{count} scenarios");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn show(scenario: &Scenario, theirs: &[Seen], ours: &[Seen]) -> String {
    let mut text = format!("{}:", scenario.name);
    for (theirs, ours) in theirs.iter().zip(ours).filter(|(a, b)| a != b) {
        text += &format!("\n  {}\n    runc: {}\n    ours: {}", theirs.step, theirs.shown, ours.shown);
    }
    text
}

#[test]
fn the_same_as_runc_0() {
    compare(0);
}

#[test]
fn the_same_as_runc_1() {
    compare(1);
}

#[test]
fn the_same_as_runc_2() {
    compare(2);
}

#[test]
fn the_same_as_runc_3() {
    compare(3);
}

#[test]
fn the_list_is_in_order() {
    let all = scenarios();
    let mut names: Vec<&str> = all.iter().map(|s| s.name.as_str()).collect();
    assert!(names.len() >= 150, "{} scenarios", names.len());
    for (name, _) in DIFFERENCES {
        assert!(names.contains(name), "{name}: no such scenario");
    }
    names.sort_unstable();
    let total = names.len();
    names.dedup();
    assert_eq!(names.len(), total, "a name is given twice");
}

#[test]
fn the_document_has_the_same_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/runtime-peers.md");
    let text = std::fs::read_to_string(path).expect("docs/runtime-peers.md");
    let rows = text.lines().filter(|l| l.starts_with("| `")).count();
    for (name, reason) in DIFFERENCES {
        let row = format!("| `{name}` | {reason} |");
        assert!(text.contains(&row), "docs/runtime-peers.md lacks the row {row}");
    }
    assert_eq!(rows, DIFFERENCES.len(), "docs/runtime-peers.md has rows of other scenarios");
}
