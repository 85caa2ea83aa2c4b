//! Hooks: programs of the configuration, called with the container's state on standard input.
//!
//! | kind | when | where | `status` |
//! |---|---|---|---|
//! | `prestart`, `createRuntime` | `create`: everything is mounted, the old root still there | host | `creating` |
//! | `createContainer` | after those | container's namespaces, host's root | `creating` |
//! | `startContainer` | `start`: before the program | container | `created` |
//! | `poststart` | the program runs | host | `running` |
//! | `poststop` | the container is gone | host | `stopped`, no `pid` |
//!
//! A hook that fails ends `create` or `start` and the container with it; one of `poststop` is only logged. What the
//! specification leaves open is as under runc: without an `env` a hook gets the environment of its place, on the host it
//! starts in the bundle, and `poststop` hooks also run when `create` fails for another reason than a hook: what the
//! earlier ones have set up is theirs to take down.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use oci::runtime::{Hook, State};
use oci::{Context, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

/// A hook without a timeout of its own is given this long, so that no command hangs for ever.
pub(crate) const LONGEST: Duration = Duration::from_secs(600);

/// How much of a hook's output an error repeats.
const OUTPUT_LIMIT: u64 = 4096;

pub(crate) const PRESTART: &str = "prestart";
pub(crate) const CREATE_RUNTIME: &str = "createRuntime";
pub(crate) const CREATE_CONTAINER: &str = "createContainer";
pub(crate) const START_CONTAINER: &str = "startContainer";
pub(crate) const POSTSTART: &str = "poststart";
pub(crate) const POSTSTOP: &str = "poststop";

/// All kinds, in the order of a container's life.
pub(crate) const KINDS: [&str; 6] = [PRESTART, CREATE_RUNTIME, CREATE_CONTAINER, START_CONTAINER, POSTSTART, POSTSTOP];

/// Whose environment a hook without one of its own gets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// The runtime's, and the bundle to start in.
    Host,
    /// The container's process's.
    Container(&'a [CString]),
}

/// Calls hooks of one kind in order, until one fails.
pub(crate) fn run(kind: &str, hooks: &[Hook], state: &State, place: Place<'_>) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    if matches!(place, Place::Host) {
        sys::signal::stop_ignoring();
    }
    let text = state_text(state)?;
    for (index, hook) in hooks.iter().enumerate() {
        let failed =
            one(hook, &text, &state.bundle, place).context(|| format!("error running {kind} hook #{index}"))?;
        if let Some(failed) = failed {
            return Err(Error::internal(format!("error running {kind} hook #{index}: {failed}")));
        }
    }
    Ok(())
}

/// Calls the `poststop` hooks, whatever becomes of them; failures are only logged.
pub(crate) fn run_poststop(hooks: &[Hook], state: &State) {
    if hooks.is_empty() {
        return;
    }
    sys::signal::stop_ignoring();
    let text = match state_text(state) {
        Ok(text) => text,
        Err(error) => return crate::log::warn(format_args!("{error}")),
    };
    for (index, hook) in hooks.iter().enumerate() {
        let what = format_args!("error running {POSTSTOP} hook #{index}");
        match one(hook, &text, &state.bundle, Place::Host) {
            Ok(None) => {}
            // In crun's words and in runc's.
            Ok(Some(failed)) => match failed.status.code() {
                Some(code) => {
                    crate::log::warn(format_args!("{POSTSTOP} hook failed with exit code {code}: {what}: {failed}"));
                }
                None => crate::log::warn(format_args!("{what}: {failed}")),
            },
            Err(error) => crate::log::warn(format_args!("{what}: {error}")),
        }
    }
}

/// The state as the specification's JSON: no `pid` where there is no process.
fn state_text(state: &State) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Text<'a> {
        oci_version: &'a str,
        id: &'a str,
        status: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        pid: Option<i32>,
        bundle: &'a Path,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        annotations: &'a BTreeMap<String, String>,
    }
    let text = Text {
        oci_version: &state.oci_version,
        id: &state.id,
        status: &state.status,
        pid: (state.pid != 0).then_some(state.pid),
        bundle: &state.bundle,
        annotations: &state.annotations,
    };
    serde_json::to_vec(&text).map_err(|e| Error::internal(e.to_string()))
}

/// A hook that came to its end with another status than 0.
struct Failed {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (stdout, stderr) = (String::from_utf8_lossy(&self.stdout), String::from_utf8_lossy(&self.stderr));
        write!(f, "error running hook: {}, stdout: {stdout}, stderr: {stderr}", end_text(self.status))
    }
}

/// Calls one hook; what it says when it fails.
fn one(hook: &Hook, state: &[u8], bundle: &Path, place: Place<'_>) -> Result<Option<Failed>> {
    // What the caller or this program has open is not a hook's.
    crate::init::transform::seal_descriptors(0)?;
    let mut command = Command::new(&hook.path);
    if let [name, rest @ ..] = hook.args.as_slice() {
        command.arg0(name).args(rest);
    }
    match place {
        _ if hook.env.is_some() => {
            command.env_clear().envs(hook.env.iter().flatten().filter_map(|entry| entry.split_once('=')));
        }
        Place::Container(env) => {
            command.env_clear();
            for entry in env {
                let mut halves = entry.as_bytes().splitn(2, |b| *b == b'=').map(std::ffi::OsStr::from_bytes);
                if let (Some(name), Some(value)) = (halves.next(), halves.next()) {
                    command.env(name, value);
                }
            }
        }
        Place::Host => {}
    }
    if matches!(place, Place::Host) && bundle.is_dir() {
        command.current_dir(bundle);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context(|| format!("fork/exec {}", hook.path.display()))?;
    let timeout = hook.timeout.map_or(LONGEST, |t| Duration::from_secs(t.unsigned_abs()));
    let finished = wait(&mut child, state, timeout);
    if finished.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().context(|| "wait for it")?;
    let (stdout, stderr) = finished?;
    Ok((!status.success()).then_some(Failed { status, stdout, stderr }))
}

/// How a process ended, in the words that callers of runc know.
fn end_text(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(9)) => "signal: killed".into(),
        // A filter's verdict; callers look for the word.
        (None, Some(31)) => "signal: bad system call".into(),
        (None, signal) => format!("signal: {}", signal.unwrap_or(0)),
    }
}

/// Gives the state and collects the output until both pipes are closed or the process is gone; at the latest until the
/// time is over. Nothing of it can block: a hook need not read its input, and may write as much as it likes.
fn wait(child: &mut Child, state: &[u8], timeout: Duration) -> Result<(Vec<u8>, Vec<u8>)> {
    let end = Instant::now() + timeout;
    let pid = rustix::process::Pid::from_raw(child.id() as i32).ok_or_else(|| Error::internal("hook without a pid"))?;
    let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        .map_err(std::io::Error::from)
        .context(|| "watch it")?;
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut stdin = child.stdin.take();
    if let Some(pipe) = &stdin {
        rustix::fs::fcntl_setfl(pipe, rustix::fs::OFlags::NONBLOCK)
            .map_err(std::io::Error::from)
            .context(|| "write its input")?;
    }
    let mut rest = state;
    loop {
        feed(&mut stdin, &mut rest)?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::deadline(format!("hook ran past specified timeout of {}.0s", timeout.as_secs())));
        }
        let time = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ };
        let mut fds = vec![PollFd::new(&process, PollFlags::IN)];
        fds.extend(stdout.as_ref().map(|p| PollFd::from_borrowed_fd(p.as_fd(), PollFlags::IN)));
        fds.extend(stderr.as_ref().map(|p| PollFd::from_borrowed_fd(p.as_fd(), PollFlags::IN)));
        fds.extend(stdin.as_ref().map(|p| PollFd::from_borrowed_fd(p.as_fd(), PollFlags::OUT)));
        match poll(&mut fds, Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error)).context(|| "watch it"),
        }
        let ready: Vec<bool> = fds.iter().map(|f| !f.revents().is_empty()).collect();
        drop(fds);
        let (has_out, has_err) = (stdout.is_some(), stderr.is_some());
        if has_out && ready[1] && drain(&mut stdout, &mut out)? {
            continue;
        }
        if has_err && ready[1 + usize::from(has_out)] && drain(&mut stderr, &mut err)? {
            continue;
        }
        // Its children may hold the pipes open for ever; the hook itself is what counts.
        if ready[0] {
            return Ok((out, err));
        }
    }
}

/// Writes what the pipe takes of the state, and closes it after the last byte.
fn feed(stdin: &mut Option<ChildStdin>, rest: &mut &[u8]) -> Result<()> {
    while let Some(pipe) = stdin {
        match pipe.write(rest) {
            Ok(length) => {
                *rest = &rest[length..];
                if rest.is_empty() {
                    *stdin = None;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // A hook need not read its input.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => *stdin = None,
            Err(error) => return Err(error).context(|| "write its input"),
        }
    }
    Ok(())
}

/// Reads what is there; true when there was something, and forgets the pipe at its end.
fn drain(pipe: &mut Option<impl Read>, into: &mut Vec<u8>) -> Result<bool> {
    let mut buffer = [0; 4096];
    let Some(reader) = pipe else { return Ok(false) };
    let length = reader.read(&mut buffer).context(|| "read its output")?;
    if length == 0 {
        *pipe = None;
        return Ok(false);
    }
    let room = (OUTPUT_LIMIT as usize).saturating_sub(into.len());
    into.extend_from_slice(&buffer[..length.min(room)]);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(pid: i32) -> State {
        State { oci_version: "1.3.0".into(), id: "c".into(), status: "stopped".into(), pid, ..Default::default() }
    }

    #[test]
    fn a_state_without_a_process_has_no_pid() {
        let text = |s: &State| String::from_utf8(state_text(s).expect("JSON")).expect("UTF-8");
        assert_eq!(text(&state(0)), r#"{"ociVersion":"1.3.0","id":"c","status":"stopped","bundle":""}"#);
        assert!(text(&state(7)).contains(r#""pid":7,"#));
    }

    #[test]
    fn a_hook_that_reads_nothing_cannot_hold_the_runtime_up() {
        let mut large = state(1);
        large.annotations.insert("a".into(), "x".repeat(1 << 20));
        let hook = |script: &str, timeout| Hook {
            path: "/bin/sh".into(),
            args: ["sh", "-c", script].map(String::from).into(),
            env: Some(vec!["PATH=/usr/bin:/bin".into()]),
            timeout: Some(timeout),
        };
        run(POSTSTART, &[hook("exit 0", 60)], &large, Place::Host).expect("ends");
        let error = run(POSTSTART, &[hook("exit 0", 60), hook("exec sleep 60", 1)], &large, Place::Host);
        let error = error.expect_err("too long");
        assert_eq!(error.to_string(), "error running poststart hook #1: hook ran past specified timeout of 1.0s");
        // One that reads gets all of it.
        let counted = run(POSTSTART, &[hook("wc -c; exit 3", 60)], &large, Place::Host).expect_err("status");
        let length = state_text(&large).expect("JSON").len();
        assert!(counted.to_string().contains(&format!("exit status 3, stdout: {length}\n")), "{counted}");
    }
}
