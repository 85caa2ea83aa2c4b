//! Columns of `ps`: which ones the options ask for, and what stands in them.

use std::fs;
use std::os::unix::fs::MetadataExt;

use oci::{Error, Result, Timestamp};

use crate::commands::state::user_name;

/// One column: its name for `-o`, its heading, its width (negative: to the left), its contents.
struct Column {
    names: &'static [&'static str],
    heading: &'static str,
    width: isize,
    cell: fn(&Process, &System) -> String,
}

/// As many digits as the kernel's highest process id has.
const PID_WIDTH: isize = isize::MAX;

const fn column(
    names: &'static [&'static str],
    heading: &'static str,
    width: isize,
    cell: fn(&Process, &System) -> String,
) -> Column {
    Column { names, heading, width, cell }
}

static COLUMNS: [Column; 22] = [
    column(&["uid_name"], "UID", -8, |p, _| shortened(user_name(p.uid), p.uid)),
    column(&["pid"], "PID", PID_WIDTH, |p, _| p.pid.to_string()),
    column(&["ppid"], "PPID", PID_WIDTH, |p, _| p.parent.to_string()),
    column(&["c"], "C", 2, |p, s| (p.cpu_permille(s) / 10).min(99).to_string()),
    column(&["stime"], "STIME", 5, |p, s| started(p.start(s), s.now)),
    column(&["tty", "tname", "tt"], "TTY", -8, |p, _| p.terminal()),
    column(&["time", "cputime"], "TIME", 8, |p, _| clock(p.cpu_seconds())),
    column(&["cmd"], "CMD", 0, |p, _| p.line.clone()),
    column(&["stat"], "STAT", -4, |p, _| p.stat()),
    column(&["bsdtime"], "TIME", 6, |p, _| format!("{}:{:02}", p.cpu_seconds() / 60, p.cpu_seconds() % 60)),
    column(&["args", "command"], "COMMAND", 0, |p, _| p.line.clone()),
    column(&["user", "euser"], "USER", -8, |p, _| shortened(user_name(p.uid), p.uid)),
    column(&["uid", "euid"], "UID", 5, |p, _| p.uid.to_string()),
    column(&["comm"], "COMMAND", -15, |p, _| p.name.clone()),
    column(&["ucmd"], "CMD", -15, |p, _| p.name.clone()),
    column(&["bsdstart", "start"], "START", 5, |p, s| started(p.start(s), s.now)),
    column(&["s", "state"], "S", 1, |p, _| p.state.to_string()),
    column(&["%cpu", "pcpu"], "%CPU", 4, |p, s| tenths(p.cpu_permille(s))),
    column(&["%mem", "pmem"], "%MEM", 4, |p, s| tenths(p.rss * 1000 / s.memory.max(1))),
    column(&["vsz", "vsize"], "VSZ", 6, |p, _| p.virtual_size.to_string()),
    column(&["rss", "rssize"], "RSS", 5, |p, _| p.rss.to_string()),
    column(&["ni", "nice"], "NI", 3, |p, _| p.nice.to_string()),
];

const FULL: &[&str] = &["uid_name", "pid", "ppid", "c", "stime", "tty", "time", "cmd"];
const SHORT: &[&str] = &["pid", "tty", "time", "ucmd"];
const BSD: &[&str] = &["pid", "tty", "stat", "bsdtime", "args"];
const USER: &[&str] = &["user", "pid", "%cpu", "%mem", "vsz", "rss", "tty", "stat", "start", "bsdtime", "args"];

/// The columns that the options ask for. Options that only select processes change nothing: the container's are shown.
fn choose(options: &[String]) -> Result<Vec<&'static Column>> {
    let refuse = |option: &str| Error::unsupported(format!("ps: option {option:?} is not supported"));
    let (mut full, mut bsd, mut user) = (options.is_empty(), false, false);
    let mut own: Vec<&str> = Vec::new();
    let mut words = options.iter();
    while let Some(option) = words.next() {
        if option.starts_with("--") {
            return Err(refuse(option));
        }
        let letters = option.strip_prefix('-');
        let dashed = letters.is_some();
        for (at, letter) in letters.unwrap_or(option).char_indices() {
            match (dashed, letter) {
                (_, 'a' | 'w') | (true, 'e' | 'A' | 'd') | (false, 'g') => {}
                (true, 'f') => full = true,
                (_, 'x') => bsd = true,
                (false, 'u') => user = true,
                (_, 'o') => {
                    let rest = &letters.unwrap_or(option)[at + 1..];
                    let list = if rest.is_empty() { words.next().map_or("", String::as_str) } else { rest };
                    own.extend(list.split([',', ' ']).filter(|name| !name.is_empty()));
                    if own.is_empty() {
                        return Err(Error::invalid(format!("ps: option {option:?} needs a list of columns")));
                    }
                    break;
                }
                _ => return Err(refuse(option)),
            }
        }
        // `ps a` and `ps g` are of the BSD kind as well.
        bsd |= !dashed;
    }
    let names = match (own.is_empty(), user, full, bsd) {
        (false, ..) => own,
        (_, true, ..) => USER.to_vec(),
        (_, _, true, _) => FULL.to_vec(),
        (_, _, _, true) => BSD.to_vec(),
        _ => SHORT.to_vec(),
    };
    let find = |name: &str| {
        let known = COLUMNS.iter().find(|c| c.names.contains(&name));
        known.ok_or_else(|| Error::unsupported(format!("ps: column {name:?} is not supported")))
    };
    names.into_iter().map(find).collect()
}

/// Prints a line for each process that still lives.
pub(super) fn print(options: &[String], pids: &[i32]) -> Result<()> {
    let columns = choose(options)?;
    let system = System::read();
    say!("{}", line(&columns, system.pid_width, |column| column.heading.into()));
    for process in pids.iter().filter_map(|pid| Process::read(*pid)) {
        say!("{}", line(&columns, system.pid_width, |column| (column.cell)(&process, &system)));
    }
    Ok(())
}

fn line(columns: &[&Column], pid_width: usize, cell: impl Fn(&Column) -> String) -> String {
    let cells = columns.iter().enumerate().map(|(i, column)| {
        let width = if column.width == PID_WIDTH { pid_width } else { column.width.unsigned_abs() };
        let text = cell(column);
        match column.width {
            1.. => format!("{text:>width$}"),
            _ if i + 1 == columns.len() => text,
            _ => format!("{text:width$}"),
        }
    });
    cells.collect::<Vec<_>>().join(" ")
}

/// What all processes share.
struct System {
    now: i64,
    /// Seconds since the epoch at which the ticks began.
    boot: i64,
    /// KiB.
    memory: u64,
    pid_width: usize,
}

/// Of a clock tick in `/proc/<pid>/stat`: the same on every architecture, whatever the kernel counts in.
const TICKS: u64 = 100;

impl System {
    fn read() -> Self {
        let number = |path: &str, key: &str| -> u64 {
            let text = fs::read_to_string(path).unwrap_or_default();
            let value = text.lines().find_map(|l| l.strip_prefix(key)?.split_whitespace().next()?.parse().ok());
            value.unwrap_or(0)
        };
        Self {
            now: Timestamp::now().seconds(),
            boot: number("/proc/stat", "btime ") as i64,
            memory: number("/proc/meminfo", "MemTotal:"),
            pid_width: number("/proc/sys/kernel/pid_max", "").saturating_sub(1).to_string().len().max(5),
        }
    }
}

/// One process.
#[derive(Debug, Default)]
struct Process {
    pid: i32,
    uid: u32,
    name: String,
    line: String,
    state: char,
    parent: i32,
    group: i32,
    session: i32,
    terminal: u64,
    foreground: i32,
    ticks: u64,
    nice: i64,
    threads: u64,
    start: u64,
    /// KiB.
    virtual_size: u64,
    /// KiB.
    rss: u64,
}

impl Process {
    /// `None` for one that has ended meanwhile.
    fn read(pid: i32) -> Option<Self> {
        let directory = format!("/proc/{pid}");
        let uid = fs::metadata(&directory).ok()?.uid();
        let stat = fs::read_to_string(format!("{directory}/stat")).ok()?;
        let line = fs::read(format!("{directory}/cmdline")).ok()?;
        Self::parse(pid, uid, &stat, &line)
    }

    fn parse(pid: i32, uid: u32, stat: &str, line: &[u8]) -> Option<Self> {
        // The name in parentheses may contain anything, also parentheses.
        let (head, tail) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|f| f.parse::<i64>().ok());
        let line = String::from_utf8_lossy(line).trim_end_matches('\0').replace(['\0', '\n'], " ");
        // A kernel-made or half-dead process has no command line, only a name.
        let line = if line.is_empty() { format!("[{name}]") } else { line };
        Some(Self {
            pid,
            uid,
            line,
            name,
            state: fields.first()?.chars().next()?,
            parent: number(1)? as i32,
            group: number(2)? as i32,
            session: number(3)? as i32,
            terminal: number(4)? as u64,
            foreground: number(5)? as i32,
            ticks: (number(11)? + number(12)?) as u64,
            nice: number(16)?,
            threads: number(17)? as u64,
            start: number(19)? as u64,
            virtual_size: number(20)? as u64 / 1024,
            rss: number(21)?.max(0) as u64 * rustix::param::page_size() as u64 / 1024,
        })
    }

    fn cpu_seconds(&self) -> u64 {
        self.ticks / TICKS
    }

    /// Seconds since the epoch.
    fn start(&self, system: &System) -> i64 {
        system.boot + (self.start / TICKS) as i64
    }

    /// CPU time in thousandths of the time it lives.
    fn cpu_permille(&self, system: &System) -> u64 {
        let lived = (system.now - self.start(system)).max(1) as u64;
        self.ticks * 1000 / TICKS / lived
    }

    fn terminal(&self) -> String {
        let (major, minor) = ((self.terminal >> 8) & 0xfff, (self.terminal & 0xff) | ((self.terminal >> 12) & 0xfff00));
        match major {
            136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
            4 if minor < 64 => format!("tty{minor}"),
            4 => format!("ttyS{}", minor - 64),
            5 if minor == 1 => "console".into(),
            _ => "?".into(),
        }
    }

    fn stat(&self) -> String {
        let mut text = String::from(self.state);
        let marks = [
            (self.nice < 0, '<'),
            (self.nice > 0, 'N'),
            (self.session == self.pid, 's'),
            (self.threads > 1, 'l'),
            (self.foreground == self.group, '+'),
        ];
        text.extend(marks.iter().filter(|(on, _)| *on).map(|(_, mark)| mark));
        text
    }
}

/// A user's name where it fits into its column.
fn shortened(name: String, uid: u32) -> String {
    if name.starts_with('#') {
        return uid.to_string();
    }
    if name.chars().count() <= 8 { name } else { name.chars().take(7).chain(['+']).collect() }
}

fn tenths(permille: u64) -> String {
    format!("{}.{}", permille / 10, permille % 10)
}

fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// When a process was started: the time for today, the date for this year, the year before that.
fn started(at: i64, now: i64) -> String {
    let text = Timestamp::from_unix(at, 0).to_string();
    let present = Timestamp::from_unix(now, 0).to_string();
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    match (text.get(..10), present.get(..10), text.get(5..7).and_then(|m| m.parse::<usize>().ok())) {
        (Some(day), Some(today), _) if day == today => text.get(11..16).unwrap_or_default().to_owned(),
        (Some(day), Some(today), Some(month @ 1..=12)) if day[..4] == today[..4] => {
            format!("{}{}", MONTHS[month - 1], &day[8..])
        }
        _ => text.get(..4).unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headings(options: &str) -> String {
        let options: Vec<String> = options.split_whitespace().map(String::from).collect();
        line(&choose(&options).expect("valid"), 7, |c| c.heading.into())
    }

    #[test]
    fn options_choose_the_columns_of_procps() {
        for (options, expected) in [
            ("", "UID          PID    PPID  C STIME TTY          TIME CMD"),
            ("-ef", "UID          PID    PPID  C STIME TTY          TIME CMD"),
            ("-e -x", "    PID TTY      STAT   TIME COMMAND"),
            ("ax", "    PID TTY      STAT   TIME COMMAND"),
            ("-e", "    PID TTY          TIME CMD"),
            ("aux", "USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND"),
            ("-eo pid,user", "    PID USER"),
            ("-o pid -o comm,args", "    PID COMMAND         COMMAND"),
        ] {
            assert_eq!(headings(options), expected, "{options:?}");
        }
        for bad in ["-Z", "--forest", "-o nosuch", "-o", "-ly"] {
            let options: Vec<String> = bad.split_whitespace().map(String::from).collect();
            assert!(choose(&options).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_process_is_read() {
        let stat = "7 (a) b) S 1 7 7 34816 7 4194304 1 2 3 4 6100 50 0 0 20 5 3 0 8640000 4096 1 18446744073709551615";
        let p = Process::parse(7, 0, stat, b"sh\0-c\0x\n\0").expect("parsed");
        let system = System { now: 1_700_000_000, boot: 1_699_900_000, memory: 1000, pid_width: 7 };
        let cells = |options: &str| {
            let options: Vec<String> = options.split_whitespace().map(String::from).collect();
            line(&choose(&options).expect("valid"), 7, |c| (c.cell)(&p, &system))
        };
        assert_eq!(cells(""), "root           7       1  0 18:26 pts/0    00:01:01 sh -c x ");
        assert_eq!(cells("-e -x"), "      7 pts/0    SNsl+  1:01 sh -c x ".replace("SNsl+  1", "SNsl+   1"));
        assert_eq!(
            Process::parse(7, 0, "7 (kworker) Z 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1 0 0", b"")
                .expect("parsed")
                .line,
            "[kworker]"
        );
        assert_eq!(started(0, 1_700_000_000), "1970");
        assert_eq!(started(1_690_000_000, 1_700_000_000), "Jul22");
    }
}
