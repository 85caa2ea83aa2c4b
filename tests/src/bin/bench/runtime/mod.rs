//! The OCI runtimes alone, with the default configuration, without and with Docker's seccomp policy: time of `run`, of
//! create + start + delete, and of `exec`; system calls, peak memory. Beside them the floor: a C program that makes the
//! same namespaces and mounts, and nothing else.

mod bundle;
mod limit;

use crate::table::{Contender, interleaved, print};
use bundle::Bundle;
use sampan_tests::{World, peer, program, run};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use limit::bench as limit;

const ROUNDS: usize = 41;

/// One runtime, called as an engine would.
struct Runtime {
    name: &'static str,
    program: PathBuf,
    root: PathBuf,
}

impl Runtime {
    fn command(&self, args: &[&str], bundle: &Bundle) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root).args(args).current_dir(&bundle.path);
        command
    }

    fn call(&self, args: &[&str], bundle: &Bundle) {
        run(&mut self.command(args, bundle), b"").ok();
    }
}

pub(crate) fn bench() {
    let (Some(runc), Some(crun)) = (peer("runc"), peer("crun")) else { return };
    let world = World::new();
    let Some(policy) = bundle::dockers_policy(&world) else { return };
    world.hide_unified_cgroups();
    bundle::cgroup_parents(&world);
    let state = bundle::memory_directory(&world);
    let floor = bundle::compile(&world, "floor", include_str!("floor.c"));
    let peak = bundle::compile(&world, "peak", include_str!("peak.c"));
    let runtimes: Vec<Runtime> =
        [("sampan-runtime", program("sampan-runtime")), ("crun 1.8", crun), ("runc 1.1", runc)]
            .into_iter()
            .map(|(name, program)| Runtime { name, program, root: state.join(name.replace(' ', "-")) })
            .collect();
    let plain = Bundle::new(&world, "plain");
    let mut filtered = Bundle::new(&world, "filtered");
    filtered.config["linux"]["seccomp"] = policy;
    filtered.write();
    for (bundle, with) in [(&plain, "without seccomp"), (&filtered, "with Docker's seccomp policy")] {
        time(&runtimes, bundle, &floor, with);
        measure(&runtimes, bundle, &peak, &world, with);
    }
}

fn time(runtimes: &[Runtime], bundle: &Bundle, floor: &Path, with: &str) {
    let rootfs = bundle.path.join("rootfs");
    let mut contenders: Vec<Contender<'_>> = Vec::new();
    for runtime in runtimes {
        contenders.push(Contender { name: runtime.name, action: Box::new(|| runtime.call(&["run", "x"], bundle)) });
    }
    contenders.push(Contender {
        name: "the floor (namespaces and mounts, no cgroups, no policy)",
        action: Box::new(|| drop(run(Command::new(floor).arg(&rootfs).arg("/bin/true"), b"").ok())),
    });
    table(&format!("run /bin/true, {with}, median of {ROUNDS}"), &mut contenders);

    let mut contenders: Vec<Contender<'_>> = Vec::new();
    for runtime in runtimes {
        contenders.push(Contender {
            name: runtime.name,
            action: Box::new(|| {
                // The container's process would hold a pipe open; /dev/null ends nothing.
                let mut create = runtime.command(&["create", "x"], bundle);
                create.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
                assert!(create.stderr(std::process::Stdio::null()).status().is_ok_and(|s| s.success()), "create");
                runtime.call(&["start", "x"], bundle);
                runtime.call(&["delete", "--force", "x"], bundle);
            }),
        });
    }
    table(&format!("create + start + delete, {with}, median of {ROUNDS}"), &mut contenders);

    let sleeper = Bundle {
        path: bundle.path.with_extension("sleeper"),
        config: {
            let mut config = bundle.config.clone();
            config["process"]["args"] = json!(["/bin/sleep", "1000"]);
            config["root"]["path"] = json!(bundle.path.join("rootfs"));
            config
        },
    };
    std::fs::create_dir(&sleeper.path).expect("a bundle");
    let mut contenders: Vec<Contender<'_>> = Vec::new();
    for runtime in runtimes {
        let mut own = Bundle { path: sleeper.path.clone(), config: sleeper.config.clone() };
        let path = own.config["linux"]["cgroupsPath"].as_str().expect("a path").to_owned();
        own.config["linux"]["cgroupsPath"] = json!(format!("{path}-{}", runtime.name.replace(' ', "-")));
        own.write();
        let mut start = runtime.command(&["run", "-d", "s"], &own);
        start.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        assert!(start.stderr(std::process::Stdio::null()).status().is_ok_and(|s| s.success()), "run -d");
        contenders.push(Contender {
            name: runtime.name,
            action: Box::new(|| runtime.call(&["exec", "s", "/bin/true"], &sleeper)),
        });
    }
    table(&format!("exec /bin/true, {with}, median of {ROUNDS}"), &mut contenders);
    drop(contenders);
    for runtime in runtimes {
        runtime.call(&["delete", "--force", "s"], &sleeper);
    }
}

fn table(title: &str, contenders: &mut [Contender<'_>]) {
    let medians = interleaved(contenders, ROUNDS);
    let rows: Vec<(&str, f64)> = contenders.iter().map(|c| c.name).zip(medians).collect();
    print(title, "ms", &rows);
}

/// System calls and peak memory of one `run`.
fn measure(runtimes: &[Runtime], bundle: &Bundle, peak: &Path, world: &World, with: &str) {
    let mut memory = Vec::new();
    let mut calls = Vec::new();
    for runtime in runtimes {
        let inner = runtime.command(&["run", "x"], bundle);
        let mut outer = Command::new(peak);
        outer.arg(inner.get_program()).args(inner.get_args()).current_dir(&bundle.path);
        let output = run(&mut outer, b"").ok();
        let kib = output.lines().find_map(|l| l.strip_prefix("peak ")).and_then(|n| n.parse().ok());
        memory.push((runtime.name, kib.expect("a number")));
        if peer("strace").is_some() {
            let counts = world.dir().join("strace");
            let mut outer = Command::new("strace");
            outer.args(["-f", "-c", "-o"]).arg(&counts).arg(inner.get_program()).args(inner.get_args());
            run(outer.current_dir(&bundle.path), b"").ok();
            let text = std::fs::read_to_string(&counts).expect("strace's table");
            let total = text.lines().find(|l| l.ends_with(" total")).expect("a total");
            let count = total.split_whitespace().nth(3).and_then(|n| n.parse().ok());
            calls.push((runtime.name, count.expect("a number")));
        }
    }
    print(&format!("Peak memory of run, {with}"), "KiB", &memory);
    print(&format!("System calls of run, {with}, the program's own among them"), "calls", &calls);
}
