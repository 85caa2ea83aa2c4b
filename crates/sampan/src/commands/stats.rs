//! `stats`: what containers use.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, flag, format_flag, verb};
use crate::client::{Call, Query};
use crate::failure::{Failure, Result};
use crate::format::listing::{Listing, row, short_id};
use crate::format::units::{binary_size, decimal_size};
use crate::value::Val;
use crate::{output, terminal};
use clap::{Arg, ArgMatches};
use futures_util::future::join_all;
use std::time::{Duration, Instant};
use wire::docker::container::Summary;
use wire::docker::stats::Stats;

verb!(
    "stats",
    "[OPTIONS] [CONTAINER...]",
    "Display a live stream of container(s) resource usage statistics",
    Arity::AtLeast(0)
);

fn flags() -> Vec<Arg> {
    vec![
        flag(Some('a'), "all", "Show all containers (default shows just running)"),
        format_flag(),
        flag(None, "no-stream", "Disable streaming stats and only pull the first result"),
        flag(None, "no-trunc", "Do not truncate output"),
    ]
}

const LISTING: Listing = Listing {
    headings: &[
        ("Container", "CONTAINER"),
        ("ID", "CONTAINER ID"),
        ("Name", "NAME"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
    table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    quiet: "{{.ID}}",
};

/// A round takes at least this long; a sample is taken over a second by the daemon itself.
const ROUND: Duration = Duration::from_millis(500);

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let named = m.arguments();
    let format = m.given("format").unwrap_or_else(|| cx.config.text("statsFormat"));
    let redraws = !m.on("no-stream") && terminal::stdout_is_terminal() && format != "json";
    let mut first = true;
    loop {
        let begun = Instant::now();
        let names = if named.is_empty() { running(cx, m.on("all")).await? } else { named.clone() };
        let samples = join_all(names.iter().map(|name| sample(cx, name))).await;
        let mut rows = Vec::new();
        for (name, sample) in names.iter().zip(samples) {
            match sample {
                Ok(stats) => rows.push(stats_row(name, &stats, m.on("no-trunc"))),
                // One that was named must be there; one of a list may have gone since.
                Err(failure) if !named.is_empty() && (first || !failure.is_not_found()) => return Err(failure),
                Err(failure) if failure.is_not_found() => {}
                Err(failure) => return Err(failure),
            }
        }
        let text = LISTING.render(format, false, &rows)?;
        if redraws {
            // Home, then every line with what is left of the old one wiped away.
            let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
            let clear = if first { "\x1b[2J" } else { "" };
            output::print(&format!("{clear}\x1b[H{lines}\x1b[J"));
        } else {
            output::print(&text);
        }
        if m.on("no-stream") {
            return Ok(0);
        }
        first = false;
        tokio::time::sleep(ROUND.saturating_sub(begun.elapsed())).await;
    }
}

async fn running(cx: &Context, all: bool) -> Result<Vec<String>> {
    let query = Query::new().flag("all", all);
    let list: Vec<Summary> = cx.client.ask(Call::get("/containers/json").query(query)).await?;
    Ok(list.into_iter().map(|container| container.id).collect())
}

async fn sample(cx: &Context, name: &str) -> Result<Stats> {
    let call = Call::get(shared::container(name, "stats")).query(Query::new().with("stream", "0"));
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, cx.client.ask(call))
        .await
        .unwrap_or_else(|_| Err(Failure::new(format!("the daemon gave no sample of {name} within {limit:?}"))))
}

fn cpu_percent(stats: &Stats) -> f64 {
    let (now, before) = (&stats.cpu_stats, &stats.precpu_stats);
    let used = now.cpu_usage.total_usage as f64 - before.cpu_usage.total_usage as f64;
    let whole = now.system_cpu_usage as f64 - before.system_cpu_usage as f64;
    let processors = match now.online_cpus {
        0 => now.cpu_usage.percpu_usage.as_ref().map_or(0, Vec::len) as f64,
        n => f64::from(n),
    };
    if used > 0.0 && whole > 0.0 { used / whole * processors * 100.0 } else { 0.0 }
}

/// Memory that the kernel would not simply take back: without the page cache that nobody uses.
fn memory_used(stats: &Stats) -> u64 {
    let usage = stats.memory_stats.usage;
    let empty = wire::docker::Map::new();
    let details = stats.memory_stats.stats.as_ref().unwrap_or(&empty);
    let idle = ["total_inactive_file", "inactive_file"].iter().find_map(|key| details.get(*key));
    idle.filter(|idle| **idle < usage).map_or(usage, |idle| usage - idle)
}

fn stats_row(asked: &str, stats: &Stats, whole: bool) -> Val {
    // A container that doesn't run has no samples.
    let runs = !stats.read.starts_with("0001-") && !stats.read.is_empty();
    let or_dashes = |text: String, dashes: &str| if runs { text } else { dashes.to_owned() };
    let used = memory_used(stats);
    let limit = stats.memory_stats.limit;
    let percent = if limit == 0 { 0.0 } else { used as f64 / limit as f64 * 100.0 };
    let (received, sent) = stats
        .networks
        .iter()
        .flat_map(|networks| networks.values())
        .fold((0u64, 0u64), |(r, s), n| (r.saturating_add(n.rx_bytes), s.saturating_add(n.tx_bytes)));
    let (mut read, mut written) = (0u64, 0u64);
    for entry in stats.blkio_stats.io_service_bytes_recursive.iter().flatten() {
        match entry.op.bytes().next() {
            Some(b'r' | b'R') => read = read.saturating_add(entry.value),
            Some(b'w' | b'W') => written = written.saturating_add(entry.value),
            _ => {}
        }
    }
    let two = |a: u64, b: u64| format!("{} / {}", decimal_size(a as f64, 3), decimal_size(b as f64, 3));
    row([
        ("Container", asked.to_owned()),
        ("ID", if whole { stats.id.clone() } else { short_id(&stats.id) }),
        ("Name", stats.name.trim_start_matches('/').to_owned()),
        ("CPUPerc", or_dashes(format!("{:.2}%", cpu_percent(stats)), "0.00%")),
        ("MemUsage", format!("{} / {}", binary_size(used as f64), binary_size(limit as f64))),
        ("MemPerc", or_dashes(format!("{percent:.2}%"), "0.00%")),
        ("NetIO", two(received, sent)),
        ("BlockIO", two(read, written)),
        ("PIDs", stats.pids_stats.current.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        let stats: Stats = serde_json::from_str(
            r#"{"read":"2026-01-01T00:00:00Z","id":"0123456789abcdef","name":"/n",
                "cpu_stats":{"cpu_usage":{"total_usage":300},"system_cpu_usage":2000,"online_cpus":2},
                "precpu_stats":{"cpu_usage":{"total_usage":200},"system_cpu_usage":1000},
                "memory_stats":{"usage":2097152,"limit":4194304,"stats":{"inactive_file":1048576}},
                "blkio_stats":{"io_service_bytes_recursive":[{"op":"Read","value":1500},{"op":"write","value":2}]},
                "networks":{"eth0":{"rx_bytes":10,"tx_bytes":20},"eth1":{"rx_bytes":1}},"pids_stats":{"current":3}}"#,
        )
        .unwrap();
        let row = stats_row("n", &stats, false);
        for (field, text) in [
            ("CPUPerc", "20.00%"),
            ("MemUsage", "1MiB / 4MiB"),
            ("MemPerc", "25.00%"),
            ("NetIO", "11B / 20B"),
            ("BlockIO", "1.5kB / 2B"),
            ("ID", "0123456789ab"),
            ("PIDs", "3"),
        ] {
            assert_eq!(row.get(field), Some(&Val::from(text)), "{field}");
        }
    }
}
