//! The benchmark: ratios beside the peers, side by side in one run. Absolute times of a shared
//! machine age at once; medians of interleaved repetitions, divided by the peer's, do not.
//!
//! `sampan-bench [run|memory|pull|runtime|limit]...`; without a name, everything.

mod memory;
mod pull;
mod run;
mod runtime;
mod table;

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|c| c == name);
    let sections: [(&str, fn()); 5] = [
        ("run", run::bench),
        ("memory", memory::bench),
        ("pull", pull::bench),
        ("runtime", runtime::bench),
        ("limit", runtime::limit),
    ];
    if let Some(unknown) = chosen.iter().find(|c| sections.iter().all(|(name, _)| name != c)) {
        eprintln!("sampan-bench: no benchmark {unknown:?}; there are: run memory pull runtime limit");
        std::process::exit(2);
    }
    table::machine();
    for (name, bench) in sections {
        if wanted(name) {
            // Each in a thread of its own: a world is entered once per thread.
            let finished = std::thread::spawn(bench).join();
            if finished.is_err() {
                eprintln!("sampan-bench: {name} failed; see above");
                std::process::exit(1);
            }
        }
    }
}
