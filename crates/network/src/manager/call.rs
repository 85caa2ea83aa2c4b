//! One run of `sampan-net`: the request in a memory file as its standard input, so that nobody
//! waits to write; the response from a pipe, within a deadline.

use super::Manager;
use crate::plan::{Done, Request, Response};
use oci::{Context, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The longest response that is read.
const MAX_RESPONSE: usize = 4 << 20;

impl Manager {
    /// Has the helper carry out a request.
    pub(super) fn call(&self, request: &Request) -> Result<Done> {
        let helper = &self.options.helper;
        let what = || format!("network helper {}", helper.display());
        let text = serde_json::to_vec(request).map_err(|error| Error::internal(format!("{}: {error}", what())))?;
        let mut input =
            File::from(memfd_create("sampan-net", MemfdFlags::CLOEXEC).map_err(std::io::Error::from).context(what)?);
        input.write_all(&text).context(what)?;
        input.rewind().context(what)?;
        let mut child = Command::new(helper)
            .env_clear()
            .stdin(Stdio::from(input))
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context(what)?;
        let answer = match child.stdout.take() {
            Some(stdout) => read(stdout, self.options.deadline),
            None => Err(Error::internal("no pipe")),
        };
        if answer.is_err() {
            // It may hang; what it did so far is undone by whoever asked.
            let _gone = child.kill();
        }
        let status = child.wait().context(what)?;
        let answer = answer.map_err(|error| error.prefixed(what()))?;
        if answer.is_empty() {
            return Err(Error::internal(format!("{}: ended without an answer ({status})", what())));
        }
        let response: Response = serde_json::from_slice(&answer)
            .map_err(|error| Error::internal(format!("{}: malformed answer: {error}", what())))?;
        response.into()
    }
}

fn read(mut pipe: ChildStdout, limit: Duration) -> Result<Vec<u8>> {
    let deadline = Instant::now() + limit;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Err(Error::deadline(format!("no answer within {limit:?}"))),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(std::io::Error::from(errno).into()),
        }
        match pipe.read(&mut buffer) {
            Ok(0) => return Ok(answer),
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if answer.len() > MAX_RESPONSE {
            return Err(Error::internal(format!("an answer of more than {MAX_RESPONSE} bytes")));
        }
    }
}
