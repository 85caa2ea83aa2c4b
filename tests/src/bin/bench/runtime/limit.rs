//! The smallest memory limit with which a container still starts: on this machine's cgroups, and on v2 in a machine of its
//! own (`scripts/machine-tcg.sh`), whose emulation changes times but not what is charged.

use super::{Runtime, bundle};
use crate::table::{median, print};
use bundle::Bundle;
use sampan_tests::{World, peer, program, run};
use serde_json::json;
use std::path::Path;
use std::process::Command;

/// How many times each is found out: what a processor has charged ahead for a cgroup is given back late.
const BISECTIONS: usize = 3;

/// Set where this program runs in the machine.
const INSIDE: &str = "SAMPAN_MACHINE";

pub(crate) fn bench() {
    let Some(crun) = peer("crun") else { return };
    let inside = std::env::var_os(INSIDE).is_some();
    let world = World::new();
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    if !v2 {
        world.hide_unified_cgroups();
        bundle::cgroup_parents(&world);
    }
    let state = bundle::memory_directory(&world);
    let mut programs = vec![("sampan-runtime", program("sampan-runtime")), ("crun 1.8", crun)];
    // Where memory is short runc hangs instead of failing, for each step's time limit; not in an emulated machine.
    if !inside && let Some(runc) = peer("runc") {
        programs.push(("runc 1.1", runc));
    }
    let mut bundle = Bundle::new(&world, "limit");
    let runtimes: Vec<Runtime> = programs
        .into_iter()
        .map(|(name, program)| Runtime { name, program, root: state.join(name.replace(' ', "-")) })
        .collect();
    let mut found = vec![Vec::new(); runtimes.len()];
    for _ in 0..BISECTIONS {
        for (runtime, found) in runtimes.iter().zip(&mut found) {
            found.push(smallest(runtime, &mut bundle));
        }
    }
    let rows: Vec<(&str, f64)> = runtimes.iter().map(|r| r.name).zip(found.into_iter().map(median)).collect();
    let version = if v2 { "v2" } else { "v1" };
    let title = format!("The smallest memory limit that starts /bin/true, cgroup {version}, median of {BISECTIONS}");
    print(&title, "KiB", &rows);
    if !inside && !v2 {
        machine();
    }
}

/// Runs this section again, on cgroup v2.
fn machine() {
    if peer("qemu-system-x86_64").is_none() {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/machine-tcg.sh");
    let own = std::env::current_exe().expect("this program's path");
    // Without what it says of the processor: that one is emulated.
    let text = run(Command::new(script).args(["--timeout", "1800"]).arg(own).arg("limit"), b"").ok();
    print!("{}", text.split_once('\n').map_or("", |(_, tables)| tables));
}

/// In KiB, by bisection in pages.
fn smallest(runtime: &Runtime, bundle: &mut Bundle) -> f64 {
    // The lower one fails, the upper one starts.
    let (mut fails, mut starts) = (1u64, 2048u64);
    assert!(starts_with(runtime, bundle, starts), "{} does not start with {} KiB", runtime.name, starts * 4);
    while fails + 1 < starts {
        let middle = fails.midpoint(starts);
        // Three of three: near the edge it is a matter of luck.
        if (0..3).all(|_| starts_with(runtime, bundle, middle)) { starts = middle } else { fails = middle }
    }
    (starts * 4) as f64
}

fn starts_with(runtime: &Runtime, bundle: &mut Bundle, pages: u64) -> bool {
    bundle.config["linux"]["resources"]["memory"] = json!({"limit": pages * 4096});
    bundle.write();
    let mut command = Command::new("timeout");
    command.arg("20").arg(&runtime.program).arg("--root").arg(&runtime.root).args(["run", "x"]);
    let code = run(command.current_dir(&bundle.path), b"").code;
    let _ = run(&mut runtime.command(&["delete", "--force", "x"], bundle), b"");
    code == 0
}
