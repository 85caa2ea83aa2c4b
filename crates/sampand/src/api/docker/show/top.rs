//! Processes in the columns of `ps`.

use engine::model::ProcessInfo;
use oci::{Error, Result};
use std::time::Duration;
use wire::docker::container::Top;

type Show = fn(&ProcessInfo, i64) -> String;
type Column = (&'static str, Show);

/// The columns by `ps`'s names for them.
const COLUMNS: &[(&[&str], Column)] = &[
    (&["user", "uname", "euser"], ("USER", |p, _| p.user.clone())),
    (&["uid", "euid"], ("UID", |p, _| p.uid.to_string())),
    (&["gid", "egid"], ("GID", |p, _| p.gid.to_string())),
    (&["pid", "tgid"], ("PID", |p, _| p.pid.to_string())),
    (&["ppid"], ("PPID", |p, _| p.ppid.to_string())),
    (&["c"], ("C", |p, _| format!("{}", p.cpu_percent as u64))),
    (&["pcpu", "%cpu"], ("%CPU", |p, _| format!("{:.1}", p.cpu_percent))),
    (&["pmem", "%mem"], ("%MEM", |p, _| format!("{:.1}", p.memory_percent))),
    (&["vsz", "vsize"], ("VSZ", |p, _| (p.vsize / 1024).to_string())),
    (&["rss", "rssize", "rsz"], ("RSS", |p, _| (p.rss / 1024).to_string())),
    (&["tty", "tt", "tname"], ("TT", |p, _| p.tty.clone())),
    (&["stat", "state", "s"], ("STAT", |p, _| p.state.to_string())),
    (&["ni", "nice"], ("NI", |p, _| p.nice.to_string())),
    (&["nlwp", "thcount"], ("NLWP", |p, _| p.threads.to_string())),
    (&["stime", "start"], ("STIME", start)),
    (&["time", "cputime"], ("TIME", |p, _| clock(p.cpu))),
    (&["comm", "ucmd", "ucomm"], ("COMMAND", |p, _| p.comm.clone())),
    (&["cmd"], ("CMD", |p, _| p.command.clone())),
    (&["args", "command"], ("COMMAND", |p, _| p.command.clone())),
];

/// Processes as `ps` with `arguments` would show them: `-ef` (where empty), `aux`, or a list of columns as in
/// `-o pid,comm`. `now` is in seconds since the epoch.
///
/// # Errors
/// `Unsupported`, naming the argument.
pub fn top(processes: &[ProcessInfo], arguments: &str, now: i64) -> Result<Top> {
    let columns = columns(arguments)?;
    Ok(Top {
        titles: columns.iter().map(|(title, _)| (*title).to_owned()).collect(),
        processes: processes.iter().map(|p| columns.iter().map(|(_, show)| show(p, now)).collect()).collect(),
    })
}

fn column(name: &str) -> Result<Column> {
    COLUMNS
        .iter()
        .find(|(names, _)| names.contains(&name))
        .map(|(_, column)| *column)
        .ok_or_else(|| Error::unsupported(format!("not implemented: the column {name:?} of ps_args")))
}

fn columns(arguments: &str) -> Result<Vec<Column>> {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let list = |names: &[&str]| names.iter().map(|name| column(name)).collect::<Result<Vec<_>>>();
    match words.as_slice() {
        [] | ["-ef" | "-fe" | "ef" | "-e" | "-f"] | ["-e", "-f"] => {
            let mut columns = list(&["user", "pid", "ppid", "c", "stime", "tty", "time", "cmd"])?;
            columns[0].0 = "UID";
            columns[5].0 = "TTY";
            Ok(columns)
        }
        ["aux" | "-aux" | "axu"] => {
            let mut columns =
                list(&["user", "pid", "pcpu", "pmem", "vsz", "rss", "tty", "stat", "stime", "time", "args"])?;
            columns[6].0 = "TTY";
            columns[8].0 = "START";
            Ok(columns)
        }
        [option, rest @ ..] if option.trim_start_matches('-').chars().all(|c| "eAaxwo".contains(c)) => {
            // `-eo pid,comm`, `-o pid -o comm`, `o pid,comm`
            let names: Vec<&str> = rest
                .iter()
                .filter(|word| !matches!(**word, "-o" | "o"))
                .flat_map(|word| word.split(','))
                .filter(|name| !name.is_empty())
                .collect();
            if !option.contains('o') && !rest.contains(&"-o") || names.is_empty() {
                return Err(refuse(arguments));
            }
            list(&names)
        }
        [option] if option.starts_with("-o") => list(&option[2..].split(',').collect::<Vec<_>>()),
        _ => Err(refuse(arguments)),
    }
}

fn refuse(arguments: &str) -> Error {
    Error::unsupported(format!("not implemented: ps_args {arguments:?}; -ef, aux and -o column,... are"))
}

fn start(process: &ProcessInfo, now: i64) -> String {
    let text = process.start.to_string();
    if now - process.start.seconds() < 86_400 {
        return text.get(11..16).unwrap_or_default().to_owned();
    }
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = text.get(5..7).and_then(|m| m.parse::<usize>().ok()).unwrap_or(1);
    format!("{}{}", MONTHS[(month - 1) % 12], text.get(8..10).unwrap_or_default())
}

fn clock(time: Duration) -> String {
    let s = time.as_secs();
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(arguments: &str) -> Result<Vec<String>> {
        top(&[], arguments, 0).map(|top| top.titles)
    }

    #[test]
    fn ps_s_usual_forms() {
        assert_eq!(titles("").unwrap(), ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
        assert_eq!(titles("-ef").unwrap(), titles("").unwrap());
        assert_eq!(titles("aux").unwrap()[..4], ["USER", "PID", "%CPU", "%MEM"]);
        for form in ["-o pid,comm", "-eo pid,comm", "-opid,comm", "o pid,comm", "-o pid -o comm", "-e -o pid,comm"] {
            assert_eq!(titles(form).unwrap(), ["PID", "COMMAND"], "{form}");
        }
    }

    #[test]
    fn others_are_refused_by_name() {
        assert!(titles("-o pid,wchan").unwrap_err().message().contains("wchan"));
        assert!(titles("--forest").unwrap_err().message().contains("--forest"));
        assert!(titles("-o").is_err());
    }
}
