//! Reading a container's log, and where the shim writes it.

use crate::containers::Handle;
use crate::engine::Core;
use crate::model::{ContainerRecord, LogEntry, LogOptions, LogSpec, Output, Phase};
use bytes::Bytes;
use oci::{Error, Result};
use shim::logs::json_file::{Entry, Options, ReadOptions, Reader, Stream};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often a followed log is looked at.
const POLL: Duration = Duration::from_millis(100);
/// Entries that are read ahead of a door.
const AHEAD: usize = 256;

/// Log entries in order.
pub struct LogStream {
    pub(crate) entries: mpsc::Receiver<Result<LogEntry>>,
}

impl LogStream {
    /// The next entry; `None` at the end, which a following stream reaches when the container has ended.
    ///
    /// # Errors
    /// If the log can't be read or is damaged.
    pub async fn next(&mut self) -> Option<Result<LogEntry>> {
        self.entries.recv().await
    }
}

fn entry(raw: Entry) -> LogEntry {
    let attrs: BTreeMap<String, String> = serde_json::from_str(&raw.attrs).unwrap_or_default();
    LogEntry {
        output: match raw.stream {
            Stream::Stdout => Output::Stdout,
            Stream::Stderr => Output::Stderr,
        },
        time: raw.time,
        line: raw.line.into(),
        attrs: attrs.into_iter().collect(),
    }
}

/// A reader that is moved to a blocking thread and back for each batch.
fn batch(reader: &mut Reader, wanted: impl Fn(&LogEntry) -> bool) -> Result<Vec<LogEntry>> {
    let mut found = Vec::new();
    while found.len() < AHEAD {
        match reader.next_entry()? {
            Some(raw) => found.extend(Some(entry(raw)).filter(&wanted)),
            None => break,
        }
    }
    Ok(found)
}

/// Reads a log. A following stream ends with the run, or at once if there is none.
pub(crate) fn read(handle: Arc<Handle>, path: PathBuf, options: LogOptions) -> LogStream {
    let (sender, entries) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        if let Err(error) = pump(&handle, path, options, &sender).await {
            let _ = sender.send(Err(error)).await;
        }
    });
    LogStream { entries }
}

async fn pump(
    handle: &Handle,
    path: PathBuf,
    options: LogOptions,
    sender: &mpsc::Sender<Result<LogEntry>>,
) -> Result<()> {
    let read = ReadOptions { since: options.since, until: options.until, tail: options.tail };
    let mut reader = crate::blocking(move || Reader::open(&path, read)).await?;
    let mut published = handle.published.subscribe();
    let over = |p: &crate::containers::Published| {
        p.gone || !(p.record.phase.is_running() || p.record.phase == Phase::Starting)
    };
    loop {
        // Asked before the log is read: what was written before the end is then read below.
        let last = !options.follow || over(&published.borrow_and_update());
        loop {
            let wanted = move |entry: &LogEntry| match entry.output {
                Output::Stdout => options.stdout,
                Output::Stderr => options.stderr,
            };
            let (back, found) = crate::blocking(move || {
                let found = batch(&mut reader, wanted)?;
                Ok((reader, found))
            })
            .await?;
            reader = back;
            let full = found.len() >= AHEAD;
            for entry in found {
                if sender.send(Ok(entry)).await.is_err() {
                    return Ok(());
                }
            }
            if !full {
                break;
            }
        }
        if last || reader.ended() || options.until.is_some_and(|until| oci::Timestamp::now() > until) {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            _ = published.changed() => {}
            () = sender.closed() => return Ok(()),
        }
    }
}

/// Everything logged so far as the bytes that an attached client gets.
pub(crate) async fn replay(path: PathBuf, stdout: bool, stderr: bool, tty: bool) -> Result<Vec<Bytes>> {
    crate::blocking(move || {
        let mut reader = Reader::open(&path, ReadOptions::default())?;
        let mut pieces = Vec::new();
        let mut total = 0;
        while let Some(raw) = reader.next_entry()? {
            let wanted = match raw.stream {
                Stream::Stdout => stdout,
                Stream::Stderr => stderr,
            };
            if !wanted {
                continue;
            }
            total += raw.line.len();
            if total > REPLAY_LIMIT {
                return Err(Error::exhausted(format!(
                    "the log is longer than {REPLAY_LIMIT} bytes; read it with logs instead of attach"
                )));
            }
            if !tty {
                pieces.push(Bytes::copy_from_slice(&shim::attach::frame_header(
                    raw.stream.number(),
                    raw.line.len() as u32,
                )));
            }
            pieces.push(raw.line.into());
        }
        Ok(pieces)
    })
    .await
}

/// The most that attaching with the log delivers.
const REPLAY_LIMIT: usize = 16 << 20;

/// The options that the driver json-file knows.
const JSON_FILE: &[&str] = &["max-size", "max-file", "labels", "env", "tag", "mode"];

/// Refuses drivers and options that can't be carried out.
pub(crate) fn check(spec: &LogSpec) -> Result<()> {
    match spec.driver.as_str() {
        "none" => return Ok(()),
        "json-file" => {}
        other => return Err(Error::unsupported(format!("log driver {other:?}; json-file and none are supported"))),
    }
    for (key, value) in &spec.options {
        if !JSON_FILE.contains(&key.as_str()) {
            return Err(Error::invalid(format!("unknown log opt '{key}' for json-file log driver")));
        }
        match key.as_str() {
            "max-size" => drop(size(value)?),
            "max-file" => drop(count(value)?),
            "mode" if value != "blocking" && !value.is_empty() => {
                return Err(Error::unsupported(format!("log opt mode={value}; only blocking is supported")));
            }
            "tag" if value.contains("{{") => {
                return Err(Error::unsupported(format!("log opt tag={value:?} with a template")));
            }
            _ => {}
        }
    }
    if spec.options.contains_key("max-file") && !spec.options.contains_key("max-size") {
        return Err(Error::invalid("max-file cannot be set without max-size"));
    }
    Ok(())
}

fn count(text: &str) -> Result<u32> {
    let number = text.parse::<u32>().ok().filter(|n| (1..=1000).contains(n));
    number.ok_or_else(|| Error::invalid(format!("invalid value for max-file: {text:?}; expected 1 to 1000")))
}

/// `10m`, `512k`, `1g`, `100`.
fn size(text: &str) -> Result<u64> {
    let bad = || Error::invalid(format!("invalid size: '{text}'"));
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, factor) = match lower.as_bytes().last().ok_or_else(bad)? {
        b'k' => (&lower[..lower.len() - 1], 1u64 << 10),
        b'm' => (&lower[..lower.len() - 1], 1 << 20),
        b'g' => (&lower[..lower.len() - 1], 1 << 30),
        _ => (lower, 1),
    };
    let number: f64 = digits.trim().parse().map_err(|_| bad())?;
    if !number.is_finite() || number <= 0.0 {
        return Err(bad());
    }
    Ok((number * factor as f64) as u64)
}

/// What every entry of the log carries, as the options `labels`, `env` and `tag` ask.
fn attrs(record: &ContainerRecord) -> Option<String> {
    let options = &record.spec.log.options;
    let names = |key: &str| -> Vec<&str> {
        options.get(key).map(|v| v.split(',').map(str::trim).filter(|n| !n.is_empty()).collect()).unwrap_or_default()
    };
    let mut attrs = BTreeMap::new();
    for name in names("labels") {
        if let Some(value) = record.process.labels.get(name) {
            attrs.insert(name.to_owned(), value.clone());
        }
    }
    for name in names("env") {
        if let Some(value) = record.process.env.iter().find_map(|e| e.strip_prefix(name)?.strip_prefix('=')) {
            attrs.insert(name.to_owned(), value.to_owned());
        }
    }
    if let Some(tag) = options.get("tag").filter(|t| !t.is_empty()) {
        attrs.insert("tag".into(), tag.clone());
    }
    if attrs.is_empty() { None } else { serde_json::to_string(&attrs).ok() }
}

impl Core {
    /// Where the shim writes a container's output; empty for nowhere.
    pub(crate) fn log_uri(&self, record: &ContainerRecord) -> String {
        if record.log_path.is_empty() {
            return String::new();
        }
        let options = &record.spec.log.options;
        shim::logs::json_file_uri(&Options {
            path: record.log_path.clone().into(),
            max_size: options.get("max-size").and_then(|v| size(v).ok()),
            max_file: options.get("max-file").and_then(|v| count(v).ok()).unwrap_or(1),
            attrs: attrs(record),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("10m", 10 << 20), ("1.5k", 1536), ("7", 7), ("1GB", 1 << 30)] {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for bad in ["", "m", "-1", "0", "1t2"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_options_are_refused_by_name() {
        let spec = |driver: &str, options: &[(&str, &str)]| LogSpec {
            driver: driver.into(),
            options: options.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
        };
        assert!(check(&spec("json-file", &[("max-size", "10m"), ("max-file", "3")])).is_ok());
        assert!(check(&spec("syslog", &[])).unwrap_err().to_string().contains("syslog"));
        assert!(check(&spec("json-file", &[("compress", "true")])).unwrap_err().to_string().contains("compress"));
        assert!(check(&spec("json-file", &[("max-file", "3")])).is_err());
    }
}
