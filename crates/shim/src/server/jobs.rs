//! Runs of the OCI runtime: children that are waited for by the loop, with a limit, and a continuation each.

use super::runtime::last_error;
use super::shim::Shim;
use oci::{Context, Error, Result};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long one run may take.
const LIMIT: Duration = Duration::from_secs(110);

type Then = Box<dyn FnOnce(&mut Shim, Result<()>)>;

/// A run under way.
pub(super) struct Job {
    child: Child,
    pub(super) deadline: Instant,
    verb: &'static str,
    runtime: String,
    log: PathBuf,
    killed: bool,
    then: Then,
}

impl Shim {
    /// Starts `command`; `then` gets its outcome: an error carries what the runtime wrote to its log. If it can't even
    /// be started, `then` is called at once.
    pub(super) fn run(
        &mut self,
        verb: &'static str,
        runtime: String,
        mut command: Command,
        log: PathBuf,
        then: impl FnOnce(&mut Self, Result<()>) + 'static,
    ) {
        let program = command.get_program().to_string_lossy().into_owned();
        match command.spawn() {
            Ok(child) => self.jobs.push(Job {
                child,
                deadline: Instant::now() + LIMIT,
                verb,
                runtime,
                log,
                killed: false,
                then: Box::new(then),
            }),
            Err(error) => then(self, Err(error).context(|| format!("run the OCI runtime {program}"))),
        }
    }

    /// Completes the runs that have ended. Returns whether any had.
    pub(super) fn complete_jobs(&mut self) -> bool {
        let mut done = Vec::new();
        let mut index = 0;
        while index < self.jobs.len() {
            match self.jobs[index].child.try_wait() {
                Ok(None) => index += 1,
                Ok(Some(status)) => done.push((self.jobs.remove(index), Ok(status))),
                Err(error) => done.push((self.jobs.remove(index), Err(error))),
            }
        }
        let any = !done.is_empty();
        for (job, status) in done {
            let outcome = match status {
                Ok(status) if status.success() => Ok(()),
                Ok(_) if job.killed => {
                    Err(Error::deadline(format!("{} {}: no end within {} s", job.runtime, job.verb, LIMIT.as_secs())))
                }
                Ok(status) => {
                    let message =
                        last_error(&job.log).unwrap_or_else(|| format!("{} {}: {status}", job.runtime, job.verb));
                    Err(Error::internal(message))
                }
                Err(error) => Err(error).context(|| format!("wait for {} {}", job.runtime, job.verb)),
            };
            let _ = std::fs::remove_file(&job.log);
            (job.then)(self, outcome);
        }
        any
    }

    /// Kills the runs that have taken too long; they complete when they are seen to have ended.
    pub(super) fn kill_overdue(&mut self, now: Instant) {
        for job in self.jobs.iter_mut().filter(|j| j.deadline <= now) {
            job.killed = true;
            job.deadline = now + LIMIT;
            let _ = job.child.kill();
        }
    }
}
