//! A small D-Bus client, enough to ask systemd for units: one connection, one thread, every wait with an end.
//!
//! ```text
//! connect → NUL, AUTH EXTERNAL, DATA, BEGIN ─► OK → Hello (a bus only; not a peer) → calls and signals
//! message = fixed header (16 bytes) · header fields · padding to 8 · body
//! ```
//! The identity is the one that the kernel shows the other side (an empty `EXTERNAL`): inside of a user namespace this
//! process does not know its own number.

mod address;
pub(crate) mod gvariant;
pub(crate) mod value;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use oci::{Context, Error, Result};

pub(crate) use address::connect;
use value::{Reader, Value, Writer, signature_of};

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// The largest message that is accepted; systemd's answers are far smaller.
const MAX_MESSAGE: usize = 4 << 20;
/// Signals that are kept while an answer is waited for.
const MAX_SIGNALS: usize = 4096;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Whom a call goes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// Nobody's name between two peers without a bus.
    pub(crate) destination: &'static str,
    pub(crate) path: &'static str,
    pub(crate) interface: &'static str,
}

/// The bus itself.
const BUS: Target =
    Target { destination: "org.freedesktop.DBus", path: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus" };

/// How a call fails.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The other side said no.
    Refused { name: String, message: String },
    /// There was no answer.
    Line(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Line(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Line(error) => error,
            Failure::Refused { name, message } => {
                let text = if message.is_empty() { name.clone() } else { message };
                match name.rsplit('.').next() {
                    Some("AccessDenied" | "InteractiveAuthorizationRequired") => Self::permission_denied(text),
                    Some("NoSuchUnit" | "ServiceUnknown") => Self::not_found(text),
                    Some("UnitExists") => Self::already_exists(text),
                    Some("InvalidArgs" | "PropertyReadOnly") => Self::invalid(text),
                    _ => Self::internal(text),
                }
            }
        }
    }
}

/// A message that has arrived.
#[derive(Debug, Default)]
pub(crate) struct Message {
    kind: u8,
    reply_to: Option<u32>,
    error: Option<String>,
    interface: Option<String>,
    pub(crate) member: Option<String>,
    pub(crate) body: Vec<Value>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    /// Read, not yet taken apart.
    unread: Vec<u8>,
    serial: u32,
    signals: VecDeque<Message>,
    /// Whether there is a bus between the two, and names on it.
    bus: bool,
    pub(crate) timeout: Duration,
}

fn closed() -> Error {
    Error::unavailable("D-Bus: the connection was closed")
}

impl Connection {
    /// Says hello on a fresh stream. With `bus` there is a message bus at the other end, otherwise the service itself.
    pub(crate) fn new(stream: UnixStream, bus: bool) -> Result<Self> {
        Self::with_timeout(stream, bus, TIMEOUT)
    }

    pub(crate) fn with_timeout(stream: UnixStream, bus: bool, timeout: Duration) -> Result<Self> {
        let mut connection = Self { stream, unread: Vec::new(), serial: 0, signals: VecDeque::new(), bus, timeout };
        let end = Instant::now() + timeout;
        // All at once: the answers cannot change what is said.
        let mut greeting = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".to_vec();
        if bus {
            greeting.extend(connection.message(CALL, &BUS, "Hello", &[], false));
        }
        let hello = connection.serial;
        connection.send(&greeting, end)?;
        connection.authenticated(end)?;
        if bus {
            connection.reply(hello, end).map_err(Error::from).context(|| "D-Bus: Hello")?;
        }
        Ok(connection)
    }

    /// Waits for `OK`. A server says `DATA` first, asking for what was sent already.
    fn authenticated(&mut self, end: Instant) -> Result<()> {
        for _ in 0..8 {
            let line = loop {
                if let Some(length) = self.unread.windows(2).position(|w| w == b"\r\n") {
                    break self.unread.drain(..length + 2).take(length).collect::<Vec<u8>>();
                }
                if self.unread.len() > 16 << 10 {
                    return Err(Error::corrupt("D-Bus: the other side does not speak its protocol"));
                }
                self.fill(end)?;
            };
            let line = String::from_utf8_lossy(&line);
            match line.split(' ').next() {
                Some("DATA") => {}
                Some("OK") => return Ok(()),
                Some("REJECTED" | "ERROR") => {
                    return Err(Error::permission_denied(format!("D-Bus: authentication was refused: {line}")));
                }
                _ => {
                    return Err(Error::corrupt(format!("D-Bus: the other side does not speak its protocol: {line:?}")));
                }
            }
        }
        Err(Error::corrupt("D-Bus: authentication does not come to an end"))
    }

    fn message(&mut self, kind: u8, target: &Target, member: &str, body: &[Value], silent: bool) -> Vec<u8> {
        self.serial += 1;
        let mut payload = Writer::default();
        body.iter().for_each(|v| payload.value(v));
        let field = |code: u8, value: Value| Value::Struct(vec![Value::Byte(code), value.variant()]);
        let mut fields = vec![
            field(1, Value::Path(target.path.into())),
            field(2, Value::str(target.interface)),
            field(3, Value::str(member)),
        ];
        if self.bus {
            fields.push(field(6, Value::str(target.destination)));
        }
        if !body.is_empty() {
            fields.push(field(8, Value::Signature(signature_of(body))));
        }
        let mut message = Writer { bytes: vec![b'l', kind, u8::from(silent), 1] };
        message.u32(payload.bytes.len() as u32);
        message.u32(self.serial);
        message.value(&Value::Array("(yv)".into(), fields));
        message.align(8);
        message.bytes.extend(payload.bytes);
        message.bytes
    }

    fn send(&mut self, bytes: &[u8], end: Instant) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            self.stream.set_write_timeout(Some(remaining(end)?))?;
            match self.stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    remaining(end)?;
                }
                // What the other side said before it hung up says more than the broken line.
                Err(error) if error.kind() == ErrorKind::BrokenPipe && !self.unread.is_empty() => return Ok(()),
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Err(closed()),
                Err(error) => return Err(error).context(|| "D-Bus: write"),
            }
        }
        Ok(())
    }

    /// Reads what there is, waiting for something.
    fn fill(&mut self, end: Instant) -> Result<()> {
        let mut bytes = [0; 4096];
        loop {
            self.stream.set_read_timeout(Some(remaining(end)?))?;
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(closed()),
                Ok(count) => {
                    self.unread.extend_from_slice(&bytes[..count]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    remaining(end)?;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(closed()),
                Err(error) => return Err(error).context(|| "D-Bus: read"),
            }
        }
    }

    fn next(&mut self, end: Instant) -> Result<Message> {
        loop {
            if let Some(length) = message_length(&self.unread)?.filter(|length| *length <= self.unread.len()) {
                let bytes: Vec<u8> = self.unread.drain(..length).collect();
                return parse(&bytes);
            }
            self.fill(end)?;
        }
    }

    fn reply(&mut self, serial: u32, end: Instant) -> Result<Vec<Value>, Failure> {
        loop {
            let message = self.next(end)?;
            match message.kind {
                RETURN if message.reply_to == Some(serial) => return Ok(message.body),
                ERROR if message.reply_to == Some(serial) => {
                    let text = message.body.first().and_then(Value::as_str).unwrap_or("").to_owned();
                    return Err(Failure::Refused { name: message.error.unwrap_or_default(), message: text });
                }
                SIGNAL if self.signals.len() < MAX_SIGNALS => self.signals.push_back(message),
                // Nobody calls a client; what answers an older call that is not waited for is of no interest.
                _ => {}
            }
        }
    }

    /// Calls and waits for the answer.
    pub(crate) fn call(&mut self, target: &Target, member: &str, body: &[Value]) -> Result<Vec<Value>, Failure> {
        let end = Instant::now() + self.timeout;
        let message = self.message(CALL, target, member, body, false);
        let serial = self.serial;
        self.send(&message, end)?;
        self.reply(serial, end)
    }

    /// Asks the bus for the signals of one name. Between peers all signals come unasked.
    pub(crate) fn subscribe(&mut self, target: &Target, member: &str) -> Result<()> {
        if !self.bus {
            return Ok(());
        }
        let rule = format!(
            "type='signal',sender='{}',path='{}',interface='{}',member='{member}'",
            target.destination, target.path, target.interface
        );
        // Without an answer: the bus keeps the order, so the rule holds before the next call is heard.
        let message = self.message(CALL, &BUS, "AddMatch", &[Value::Str(rule)], true);
        self.send(&message, Instant::now() + self.timeout)
    }

    /// Waits for the signal that `wanted` finds something in.
    pub(crate) fn signal<T>(
        &mut self,
        interface: &str,
        member: &str,
        wanted: impl Fn(&[Value]) -> Option<T>,
    ) -> Result<T> {
        let end = Instant::now() + self.timeout;
        loop {
            let message = match self.signals.pop_front() {
                Some(message) => message,
                None => self.next(end)?,
            };
            if message.kind == SIGNAL
                && message.interface.as_deref() == Some(interface)
                && message.member.as_deref() == Some(member)
                && let Some(found) = wanted(&message.body)
            {
                return Ok(found);
            }
        }
    }
}

/// What is left until the end; it is an error when nothing is.
fn remaining(end: Instant) -> Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Error::deadline("D-Bus: no answer in time"));
    }
    Ok(left)
}

/// The whole length of the message that begins here, once enough is there to know.
fn message_length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(fixed) = bytes.get(..16) else { return Ok(None) };
    let big_endian = match fixed[0] {
        b'l' => false,
        b'B' => true,
        other => return Err(Error::corrupt(format!("D-Bus: a garbled message: byte order {other:#x}"))),
    };
    if fixed[3] != 1 {
        return Err(Error::corrupt(format!("D-Bus: a garbled message: protocol version {}", fixed[3])));
    }
    let mut reader = Reader::new(&fixed[4..], big_endian);
    let (body, _serial, fields) = (reader.u32()? as usize, reader.u32()?, reader.u32()? as usize);
    if body > MAX_MESSAGE || fields > MAX_MESSAGE {
        return Err(Error::corrupt(format!("D-Bus: a message of {body} and {fields} bytes is too large")));
    }
    Ok(Some((16 + fields).next_multiple_of(8) + body))
}

/// Takes a complete message apart.
fn parse(bytes: &[u8]) -> Result<Message> {
    let big_endian = bytes[0] == b'B';
    let mut header = Reader::new(bytes, big_endian);
    let values = header.values("yyyyuua(yv)")?;
    let mut message = Message::default();
    let [_, Value::Byte(kind), _, _, Value::Uint32(body), _, Value::Array(_, fields)] = values.as_slice() else {
        return Err(Error::corrupt("D-Bus: a garbled message: its header"));
    };
    message.kind = *kind;
    let mut signature = String::new();
    for field in fields {
        let Value::Struct(pair) = field else { continue };
        let [Value::Byte(code), Value::Variant(value)] = pair.as_slice() else { continue };
        match (code, &**value) {
            (2, Value::Str(text)) => message.interface = Some(text.clone()),
            (3, Value::Str(text)) => message.member = Some(text.clone()),
            (4, Value::Str(text)) => message.error = Some(text.clone()),
            (5, Value::Uint32(serial)) => message.reply_to = Some(*serial),
            (8, Value::Signature(text)) => signature.clone_from(text),
            _ => {}
        }
    }
    message.body = Reader::new(&bytes[bytes.len() - *body as usize..], big_endian).values(&signature)?;
    Ok(message)
}

#[cfg(test)]
mod tests;
