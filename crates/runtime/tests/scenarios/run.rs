//! Reads scenarios and runs one under one runtime.
//!
//! ```text
//! name :: {"sh": "echo hi", "process.user": {"uid": 5}} :: run C ; !ls $D ; state C
//! ```
//! The second part changes the default configuration: a dotted path gets a value; `+` behind it appends to a list, `-`
//! removes entries that have all the given members; `sh` is a script to run. `null` removes.
//!
//! Steps are the runtime's words, with `C` for the container's id and `D` for its directory. Further:
//!
//! | step | meaning |
//! |---|---|
//! | `!script` | a shell's; `$RT` is the runtime with its root, `$C`, `$D`, `$PID` (of the container), `$CG` (its cgroup), `$BG` (of `bg`) |
//! | `wait STATUS` | until the container is so |
//! | `bg WORDS`, `fg` | a command in the background; its end |
//! | `in=TEXT WORDS` | with that standard input |

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::common::{Bench, RUNTIME, bench};

/// One line of the list.
pub(crate) struct Scenario {
    pub(crate) name: String,
    changes: Map<String, Value>,
    steps: Vec<String>,
}

/// What a step has shown, without what differs from one run to the next.
#[derive(PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) step: String,
    pub(crate) shown: String,
}

pub(crate) fn installed() -> bool {
    let found = Command::new("runc").arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        println!("skipped: runc is not installed");
    }
    found
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    let lines = include_str!("scenarios.txt").lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines
        .map(|line| {
            let mut parts = line.splitn(3, " :: ");
            let (Some(name), Some(changes), Some(steps)) = (parts.next(), parts.next(), parts.next()) else {
                panic!("not three parts: {line}")
            };
            Scenario {
                name: name.trim().into(),
                changes: serde_json::from_str(changes).unwrap_or_else(|e| panic!("{line}: {e}")),
                steps: steps.split(" ; ").map(|s| s.trim().to_owned()).collect(),
            }
        })
        .collect()
}

fn change(config: &mut Value, key: &str, value: &Value) {
    if key == "sh" {
        config["process"]["args"] = json!(["sh", "-c", value]);
        return;
    }
    let (path, kind) = match key.as_bytes().last() {
        Some(last @ (b'+' | b'-')) => (&key[..key.len() - 1], *last),
        _ => (key, b'='),
    };
    let mut place = config;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() && kind == b'=' && value.is_null() {
            place.as_object_mut().expect("object").remove(part);
            return;
        }
        place = &mut place[part];
    }
    match kind {
        b'+' => match place.as_array_mut() {
            Some(list) => list.push(value.clone()),
            None => *place = json!([value]),
        },
        b'-' => {
            let wanted = value.as_object().expect("members");
            place.as_array_mut().expect("list").retain(|e| !wanted.iter().all(|(k, v)| e.get(k) == Some(v)));
        }
        _ => *place = value.clone(),
    }
}

/// Splits into words; single quotes keep spaces together.
fn words(text: &str) -> Vec<String> {
    let (mut all, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in text.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                any = true;
            }
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    all.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        all.push(word);
    }
    all
}

/// One scenario under one runtime.
struct Stage<'a> {
    bench: Bench,
    background: Option<Child>,
    scenario: &'a Scenario,
}

impl Scenario {
    /// What it shows. `None` where containers cannot be made.
    pub(crate) fn run(&self, runtime: &str) -> Option<Vec<Seen>> {
        let mut bench = bench()?;
        bench.runtime = runtime.into();
        let mut config = serde_json::to_value(&bench.spec).expect("JSON");
        config["ociVersion"] = json!("1.0.2");
        for (key, value) in &self.changes {
            change(&mut config, key, value);
        }
        let text = config.to_string().replace("$D", bench.directory.path().to_str().expect("path"));
        fs::write(bench.bundle().join("config.json"), text).expect("config.json");
        // runc 1.1 makes it with every command, newer ones and ours only with a container.
        fs::create_dir_all(bench.state_root()).expect("mkdir");
        let mut stage = Stage { bench, background: None, scenario: self };
        let mut seen: Vec<Seen> = self.steps.iter().map(|step| stage.step(step)).collect();
        seen.push(stage.end());
        Some(seen)
    }
}

impl Stage<'_> {
    fn step(&mut self, step: &str) -> Seen {
        let shown = match step.split_once(' ').unwrap_or((step, "")) {
            _ if step.starts_with('!') => {
                let output = self.shell(&step[1..]);
                self.show(output)
            }
            ("wait", status) => self.wait(status),
            ("bg", rest) => {
                self.background = Some(self.command(rest).spawn().expect("spawn"));
                String::new()
            }
            ("fg", _) => {
                let child = self.background.take().expect("something in the background");
                let output = within(child, &self.scenario.name);
                self.show(output)
            }
            (first, rest) if first.starts_with("in=") => {
                let mut child = self.command(rest).stdin(Stdio::piped()).spawn().expect("spawn");
                let text = first[3..].replace("\\n", "\n");
                // A program need not read its input.
                let _ = child.stdin.take().expect("stdin").write_all(text.as_bytes());
                let output = within(child, &self.scenario.name);
                self.show(output)
            }
            _ => {
                let output = within(self.command(step).spawn().expect("spawn"), &self.scenario.name);
                self.show(output)
            }
        };
        Seen { step: step.into(), shown }
    }

    /// A command of the runtime. Output of what it leaves behind goes to a file.
    fn command(&self, text: &str) -> Command {
        let directory = self.bench.directory.path().to_str().expect("path").to_owned();
        let place = |word: String| match word.as_str() {
            "C" => self.bench.id.clone(),
            _ => word.replace("$D", &directory),
        };
        let mut words: Vec<String> = words(text).into_iter().map(place).collect();
        let verb = words.iter().position(|w| !w.starts_with('-')).unwrap_or(0);
        let makes = matches!(words.get(verb).map(String::as_str), Some("create" | "run"));
        if makes && !words.iter().any(|w| matches!(w.as_str(), "-b" | "--bundle" | "-h")) {
            words.splice(verb + 1..verb + 1, ["--bundle".into(), format!("{directory}/bundle")]);
        }
        let detached = words.iter().any(|w| matches!(w.as_str(), "-d" | "--detach")) || text.contains("create");
        let mut command = Command::new(&self.bench.runtime);
        command.arg("--root").arg(self.bench.state_root());
        if !text.starts_with('-') {
            command.arg("--log").arg(format!("{directory}/log"));
        }
        command.args(&words).current_dir(&directory).stdin(Stdio::null());
        if detached {
            // What stays behind would keep a pipe open; standard error tells of a failure all the same.
            let out = File::options().create(true).append(true).open(format!("{directory}/out")).expect("out");
            command.stdout(out.try_clone().expect("clone")).stderr(out);
        } else {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        command
    }

    fn shell(&self, script: &str) -> Output {
        let b = &self.bench;
        let runtime = format!("{} --root {}", b.runtime.display(), b.state_root().display());
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(b.directory.path()).stdin(Stdio::null());
        command.env("RT", runtime).env("C", &b.id).env("D", b.directory.path()).env("CG", format!("/{}/c", b.id));
        if let Some(child) = &self.background {
            command.env("BG", child.id().to_string());
        }
        if script.contains("$PID") {
            command.env("PID", self.state()["pid"].to_string());
        }
        within(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sh"), &self.scenario.name)
    }

    fn state(&self) -> Value {
        serde_json::from_slice(&self.bench.call(&["state", &self.bench.id]).stdout).unwrap_or_default()
    }

    fn wait(&self, status: &str) -> String {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            if self.state()["status"] == status {
                return status.into();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        format!("never {status}: {}", self.state()["status"])
    }

    /// Status, output and log, without what differs between two runs.
    fn show(&self, output: Output) -> String {
        let out = |bytes: &[u8]| self.plain(&String::from_utf8_lossy(bytes));
        let mut shown = match output.status.code() {
            Some(code) => code.to_string(),
            None => output.status.to_string(),
        };
        for (name, text) in [("out", out(&output.stdout)), ("err", out(&output.stderr)), ("log", self.take("log"))] {
            // An error stands in both.
            let told = name == "log" && output.status.code() != Some(0);
            if !text.is_empty() && !told {
                shown += &format!(" {name}={text:?}");
            }
        }
        shown
    }

    /// The new contents of a file.
    fn take(&self, name: &str) -> String {
        let path = self.bench.directory.path().join(name);
        let text = fs::read_to_string(&path).unwrap_or_default();
        if !text.is_empty() {
            fs::write(&path, "").expect("truncate");
        }
        self.plain(&text)
    }

    fn plain(&self, text: &str) -> String {
        let b = &self.bench;
        let mut text = text.replace(b.directory.path().to_str().expect("path"), "$D").replace(&b.id, "$C");
        // runc 1.1 leaves the first words out where a program is looked for; newer ones have them, as for all that fails
        // in the container's first process.
        text = text.replace("error during container init: exec: ", "exec: ");
        if let Ok(mut state) = serde_json::from_str::<Value>(&text) {
            mask(&mut state);
            return state.to_string();
        }
        let name = b.runtime.file_name().expect("name").to_string_lossy().into_owned();
        for word in [format!("{name} "), format!("{name}: ")] {
            text = text.replace(&word, &word.replace(&name, "RT"));
        }
        let lines = text.lines().map(|line| match line.split_once(" level=") {
            Some((time, rest)) if time.starts_with("time=") => format!("level={rest}"),
            _ => line.trim_end().to_owned(),
        });
        let shown: Vec<String> = lines.collect();
        shown.join("\n")
    }

    /// What is left: the output of what ran detached, and whether everything goes.
    fn end(&mut self) -> Seen {
        if let Some(mut child) = self.background.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let out = self.take("out");
        let removed = self.bench.call(&["delete", "--force", &self.bench.id]).status.code();
        // A create and a delete at the same time can leave a process of runc's behind.
        for cgroup in self.bench.cgroups() {
            let inside = fs::read_to_string(cgroup.join("c/cgroup.procs")).unwrap_or_default();
            for pid in inside.lines().filter_map(|l| l.parse().ok()).filter_map(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        // What runc leaves is its own matter.
        let ours = self.bench.runtime == Path::new(RUNTIME);
        let left: Vec<_> = self.bench.cgroups().into_iter().filter(|p| ours && p.join("c").exists()).collect();
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let mounted = mounts.contains(self.bench.directory.path().to_str().expect("path"));
        Seen { step: "(end)".into(), shown: format!("{removed:?} left={left:?} mounted={mounted} out={out:?}") }
    }
}

/// What is another value each time becomes its name.
fn mask(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(|v| {
            if v.is_i64() {
                *v = "PID".into();
            }
            mask(v);
        }),
        Value::Object(members) => {
            for (name, member) in members {
                match name.as_str() {
                    "pid" if *member != 0 => *member = "PID".into(),
                    "created" => *member = "TIME".into(),
                    // runc writes the version that it was built with, ours the configuration's.
                    "ociVersion" => *member = "VERSION".into(),
                    _ => mask(member),
                }
            }
        }
        _ => {}
    }
}

/// Waits for a program, bounded.
fn within(mut child: Child, name: &str) -> Output {
    let end = Instant::now() + Duration::from_secs(30);
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let reader = |pipe: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.read_to_end(&mut text);
            }
            text
        })
    };
    let (out, err) = (reader(out.map(|p| Box::new(p) as _)), reader(err.map(|p| Box::new(p) as _)));
    let status = loop {
        match child.try_wait().expect("wait") {
            Some(status) => break status,
            None if Instant::now() > end => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{name}: a step does not end");
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    Output { status, stdout: out.join().expect("output"), stderr: err.join().expect("output") }
}
