//! `GET /containers/{id}/logs`

use crate::api::docker::call::Call;
use crate::api::docker::hijack::media_type;
use crate::api::docker::reply::{self, Mode, Reply};
use crate::api::docker::{filter, frames};
use bytes::{BufMut, Bytes, BytesMut};
use engine::model::{LogEntry, LogOptions, Output};
use oci::{Error, Result, Timestamp};
use wire::docker::stream::Stream;

/// Streams a container's log.
pub async fn logs(call: Call) -> Result<Reply> {
    let query = &call.query;
    let options = LogOptions {
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        since: filter::moment(query.get("since").unwrap_or_default())?,
        until: filter::moment(query.get("until").unwrap_or_default())?,
        tail: tail(query.get("tail"))?,
        follow: query.flag("follow"),
    };
    if !options.stdout && !options.stderr {
        return Err(Error::invalid("Bad parameters: you must choose at least one stream"));
    }
    let (timestamps, details) = (query.flag("timestamps"), query.flag("details"));
    let containers = call.engine().containers();
    let record = containers.get(call.param("id"))?;
    let tty = record.spec.tty;
    let mut log = containers.logs(&record.id, options).await?;
    reply::stream(media_type(call.version, tty), Mode::Live, |sender| async move {
        while let Some(entry) = log.next().await {
            let entry = entry?;
            let line = line(&entry, timestamps, details);
            sender.bytes(if tty { line } else { frames::frame(stream_of(entry.output), &line) }).await?;
        }
        Ok(())
    })
    .await
}

fn stream_of(output: Output) -> Stream {
    match output {
        Output::Stdout => Stream::Stdout,
        Output::Stderr => Stream::Stderr,
    }
}

/// The number of lines; anything that is no number means all, as with dockerd.
fn tail(text: Option<&str>) -> Result<Option<usize>> {
    match text {
        None | Some("all") => Ok(None),
        Some(number) => Ok(number.parse().ok()),
    }
}

/// A line with its time and attributes in front, if wanted.
fn line(entry: &LogEntry, timestamps: bool, details: bool) -> Bytes {
    if !timestamps && !details {
        return entry.line.clone();
    }
    let mut out = BytesMut::with_capacity(entry.line.len() + 64);
    if timestamps {
        out.put_slice(nanos(entry.time).as_bytes());
        out.put_u8(b' ');
    }
    if details {
        let pairs: Vec<String> = entry.attrs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        out.put_slice(pairs.join(",").as_bytes());
        out.put_u8(b' ');
    }
    out.put_slice(&entry.line);
    out.freeze()
}

/// RFC 3339 with all nine digits of the fraction, so that lines align.
fn nanos(time: Timestamp) -> String {
    let whole = Timestamp::from_unix(time.seconds(), 0).to_string();
    format!("{}.{:09}Z", whole.trim_end_matches('Z'), time.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_attributes_come_first() {
        let entry = LogEntry {
            output: Output::Stdout,
            time: Timestamp::from_unix(0, 5),
            line: Bytes::from_static(b"hi\n"),
            attrs: vec![("a".into(), "1".into()), ("b".into(), "2".into())],
        };
        assert_eq!(line(&entry, false, false), "hi\n");
        assert_eq!(line(&entry, true, false), "1970-01-01T00:00:00.000000005Z hi\n");
        assert_eq!(line(&entry, true, true), "1970-01-01T00:00:00.000000005Z a=1,b=2 hi\n");
    }

    #[test]
    fn tails() {
        assert_eq!(tail(None).unwrap(), None);
        assert_eq!(tail(Some("all")).unwrap(), None);
        assert_eq!(tail(Some("0")).unwrap(), Some(0));
        assert_eq!(tail(Some("-1")).unwrap(), None);
    }
}
