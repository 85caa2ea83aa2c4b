//! Medians, ratios, and how they are printed (Markdown, so that they can stand in the docs).

use std::time::{Duration, Instant};

/// The machine and the date, so that a copied table says where it is from.
pub(crate) fn machine() {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("unknown", |l| l.trim_start_matches([' ', '\t', ':']));
    let cores = cpu.lines().filter(|l| l.starts_with("processor")).count();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let date = sampan_tests::run(std::process::Command::new("date").arg("-uI"), b"").stdout;
    println!("{}, {cores} × {model}, Linux {}", date.trim(), kernel.trim());
}

/// The median.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    if values.is_empty() { f64::NAN } else { values[values.len() / 2] }
}

/// One contender of a timing.
pub(crate) struct Contender<'a> {
    pub(crate) name: &'a str,
    pub(crate) action: Box<dyn FnMut() + 'a>,
}

/// Runs every contender `rounds` times, interleaved, after one warm-up each; medians in milliseconds.
pub(crate) fn interleaved(contenders: &mut [Contender<'_>], rounds: usize) -> Vec<f64> {
    for contender in contenders.iter_mut() {
        (contender.action)();
    }
    let mut times = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let start = Instant::now();
            (contender.action)();
            times.push(start.elapsed());
        }
    }
    times.into_iter().map(|t| median(t.iter().map(Duration::as_secs_f64).map(|s| s * 1000.0).collect())).collect()
}

/// Prints a table whose first row is ours; the ratio is ours divided by the peer's.
pub(crate) fn print(title: &str, unit: &str, rows: &[(&str, f64)]) {
    println!("\n### {title}\n\n| | {unit} | ours / this |\n|---|---:|---:|");
    let ours = rows.first().map_or(f64::NAN, |r| r.1);
    for (name, value) in rows {
        println!("| {name} | {value:.1} | {:.2} |", ours / value);
    }
}
