//! `ps`: the processes inside a container, by host process id.

use std::fs;
use std::os::unix::fs::MetadataExt;

use oci::{Error, Result};

use super::Command;
use crate::cli::{Args, Count, Failure, Flag, Global, value};
use crate::state::Container;

static FLAGS: [Flag; 1] = [value(&["format", "f"], "select one of: table or json (default: \"table\")")];

pub(super) static COMMAND: Command = Command {
    name: "ps",
    about: "ps displays the processes running inside a container",
    usage: "<container-id>",
    flags: &FLAGS,
    arguments: Count::AtLeast(1),
    command_after: Some(1),
    makes: false,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    let [id, options @ ..] = args.positional.as_slice() else {
        return Err(Error::invalid("\"ps\" requires a minimum of 1 argument").into());
    };
    let container = Container::open(&global.root, id)?;
    let mut pids = container.record()?.cgroup.processes()?;
    pids.sort_unstable();
    match args.get("format") {
        Some("json") => println!("{}", serde_json::to_string(&pids).map_err(|e| Error::internal(e.to_string()))?),
        None | Some("table") => {
            if let Some(option) = options.iter().find(|o| !matches!(o.as_str(), "-ef" | "-e" | "-f")) {
                return Err(
                    Error::unsupported(format!("ps: option {option:?} is not supported; use --format json")).into()
                );
            }
            let header = ["UID", "PID", "PPID", "CMD"].map(String::from);
            let rows: Vec<_> = std::iter::once(header).chain(pids.iter().filter_map(|pid| row(*pid))).collect();
            print_columns(&rows, 8, 1);
        }
        Some(other) => return Err(Error::invalid(format!("invalid format option: {other:?}")).into()),
    }
    Ok(0)
}

/// One line; `None` for a process that has ended meanwhile.
fn row(pid: i32) -> Option<[String; 4]> {
    let directory = format!("/proc/{pid}");
    let uid = fs::metadata(&directory).ok()?.uid();
    let stat = fs::read_to_string(format!("{directory}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(')')?;
    let parent = tail.split_whitespace().nth(1)?;
    let line = fs::read(format!("{directory}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " ");
    // A kernel-made or half-dead process has no command line, only a name.
    let line = if line.is_empty() { format!("[{}]", head.split_once('(')?.1) } else { line };
    Some([uid.to_string(), pid.to_string(), parent.to_owned(), line])
}

/// Prints rows with columns at least `minimum` wide and `gap` apart, as Go's tabwriter does.
pub(super) fn print_columns<const N: usize>(rows: &[[String; N]], minimum: usize, gap: usize) {
    let mut widths = [minimum; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + gap);
        }
    }
    for row in rows {
        let mut line = String::new();
        for (i, (cell, width)) in row.iter().zip(widths).enumerate() {
            line += cell;
            if i + 1 < N {
                line.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
            }
        }
        println!("{line}");
    }
}
