//! Hooks: programs of the configuration, called with the container's state on standard input.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use oci::runtime::{Hook, State};
use oci::{Context, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A hook without a timeout of its own is given this long, so that no command hangs for ever.
const LONGEST: Duration = Duration::from_secs(600);

/// How much of a hook's output an error repeats.
const OUTPUT_LIMIT: u64 = 4096;

/// Calls hooks in order, until one fails.
pub(crate) fn run(hooks: &[Hook], state: &State) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let text = serde_json::to_vec(state).map_err(|e| Error::internal(e.to_string()))?;
    for (index, hook) in hooks.iter().enumerate() {
        one(hook, &text).context(|| format!("error running hook #{index} ({})", hook.path.display()))?;
    }
    Ok(())
}

/// Calls all hooks, whatever becomes of them; failures are only logged.
pub(crate) fn run_all(hooks: &[Hook], state: &State) {
    for hook in hooks {
        if let Err(error) = run(std::slice::from_ref(hook), state) {
            crate::log::warn(format_args!("{error}"));
        }
    }
}

fn one(hook: &Hook, state: &[u8]) -> Result<()> {
    let mut command = Command::new(&hook.path);
    if let [name, rest @ ..] = hook.args.as_slice() {
        command.arg0(name).args(rest);
    }
    command.env_clear();
    for entry in &hook.env {
        if let Some((name, value)) = entry.split_once('=') {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context(|| "start")?;
    let given = match child.stdin.take().map(|mut pipe| pipe.write_all(state)) {
        // A hook need not read its input.
        Some(Err(error)) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::from(error).prefixed("write its input"))
        }
        _ => Ok(()),
    };
    let timeout = hook.timeout.map_or(LONGEST, |t| Duration::from_secs(t.unsigned_abs()));
    let finished = given.and_then(|()| wait(&mut child, timeout));
    if finished.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().context(|| "wait for it")?;
    let (stdout, stderr) = finished?;
    if status.success() {
        return Ok(());
    }
    Err(Error::internal(format!(
        "{status}, stdout: {}, stderr: {}",
        String::from_utf8_lossy(&stdout).trim_end(),
        String::from_utf8_lossy(&stderr).trim_end()
    )))
}

/// Collects the output until both pipes are closed or the process is gone; at the latest until the time is over.
fn wait(child: &mut Child, timeout: Duration) -> Result<(Vec<u8>, Vec<u8>)> {
    let end = Instant::now() + timeout;
    let pid = rustix::process::Pid::from_raw(child.id() as i32).ok_or_else(|| Error::internal("hook without a pid"))?;
    let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        .map_err(std::io::Error::from)
        .context(|| "watch it")?;
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::deadline(format!("no end after {} seconds", timeout.as_secs())));
        }
        let time = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ };
        let mut fds = vec![PollFd::new(&process, PollFlags::IN)];
        fds.extend(stdout.as_ref().map(|p| PollFd::from_borrowed_fd(p.as_fd(), PollFlags::IN)));
        fds.extend(stderr.as_ref().map(|p| PollFd::from_borrowed_fd(p.as_fd(), PollFlags::IN)));
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
