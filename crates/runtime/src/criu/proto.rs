//! The few messages of criu's `rpc.proto` that a runtime needs, and protobuf's wire format for them.
//!
//! ```text
//! message = field*      field = key value      key = varint(number << 3 | type)
//! type 0: varint        type 2: varint length, bytes (strings, messages)        1, 5: eight, four bytes
//! ```

use oci::{Error, Result};

/// What is asked for, and what an answer is about (`criu_req_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind(pub(crate) u64);

impl Kind {
    pub(crate) const DUMP: Self = Self(1);
    pub(crate) const RESTORE: Self = Self(2);
    pub(crate) const PRE_DUMP: Self = Self(4);
    pub(crate) const NOTIFY: Self = Self(6);
    pub(crate) const FEATURE_CHECK: Self = Self(9);
    pub(crate) const VERSION: Self = Self(10);
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const NAMES: [&str; 14] = [
            "EMPTY",
            "DUMP",
            "RESTORE",
            "CHECK",
            "PRE_DUMP",
            "PAGE_SERVER",
            "NOTIFY",
            "CPUINFO_DUMP",
            "CPUINFO_CHECK",
            "FEATURE_CHECK",
            "VERSION",
            "WAIT_PID",
            "PAGE_SERVER_CHLD",
            "SINGLE_PRE_DUMP",
        ];
        match NAMES.get(self.0 as usize) {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Fields of `criu_opts`, by their number.
pub(crate) mod field {
    pub(crate) const IMAGES_DIR_FD: u32 = 1;
    pub(crate) const PID: u32 = 2;
    pub(crate) const LEAVE_RUNNING: u32 = 3;
    pub(crate) const EXT_UNIX_SK: u32 = 4;
    pub(crate) const TCP_ESTABLISHED: u32 = 5;
    pub(crate) const EVASIVE_DEVICES: u32 = 6;
    pub(crate) const SHELL_JOB: u32 = 7;
    pub(crate) const FILE_LOCKS: u32 = 8;
    pub(crate) const LOG_LEVEL: u32 = 9;
    pub(crate) const LOG_FILE: u32 = 10;
    pub(crate) const PAGE_SERVER: u32 = 11;
    pub(crate) const NOTIFY_SCRIPTS: u32 = 12;
    pub(crate) const ROOT: u32 = 13;
    pub(crate) const PARENT_IMG: u32 = 14;
    pub(crate) const TRACK_MEM: u32 = 15;
    pub(crate) const AUTO_DEDUP: u32 = 16;
    pub(crate) const WORK_DIR_FD: u32 = 17;
    pub(crate) const LINK_REMAP: u32 = 18;
    pub(crate) const EXT_MNT: u32 = 23;
    /// For versions before [`MANAGE_CGROUPS_MODE`].
    pub(crate) const MANAGE_CGROUPS: u32 = 24;
    pub(crate) const CG_ROOT: u32 = 25;
    pub(crate) const RST_SIBLING: u32 = 26;
    pub(crate) const INHERIT_FD: u32 = 27;
    pub(crate) const MANAGE_CGROUPS_MODE: u32 = 34;
    pub(crate) const EXTERNAL: u32 = 37;
    pub(crate) const EMPTY_NS: u32 = 38;
    pub(crate) const JOIN_NS: u32 = 39;
    pub(crate) const FREEZE_CGROUP: u32 = 44;
    pub(crate) const TCP_SKIP_IN_FLIGHT: u32 = 46;
    pub(crate) const LAZY_PAGES: u32 = 48;
    pub(crate) const STATUS_FD: u32 = 49;
    pub(crate) const ORPHAN_PTS_MASTER: u32 = 50;
    pub(crate) const CONFIG_FILE: u32 = 51;
    pub(crate) const LSM_PROFILE: u32 = 53;
    pub(crate) const LSM_MOUNT_CONTEXT: u32 = 63;
}

/// A message being written.
#[derive(Debug, Default, Clone)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A number, a truth value or an enumeration; negative numbers are sign-extended to 64 bits.
    pub(crate) fn number(&mut self, field: u32, value: impl Into<i64>) -> &mut Self {
        self.varint(u64::from(field) << 3);
        self.varint(value.into() as u64);
        self
    }

    pub(crate) fn bytes(&mut self, field: u32, value: &[u8]) -> &mut Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    pub(crate) fn string(&mut self, field: u32, value: &str) -> &mut Self {
        self.bytes(field, value.as_bytes())
    }

    /// A message of two strings: `ext_mount_map`, `join_namespace`, `cgroup_root`.
    pub(crate) fn pair(&mut self, field: u32, first: &str, second: &str) -> &mut Self {
        let mut inner = Self::default();
        inner.string(1, first).string(2, second);
        self.bytes(field, &inner.0)
    }

    /// A message of a string and a number: `inherit_fd`, `criu_page_server_info`.
    pub(crate) fn named_number(&mut self, field: u32, name: &str, number: i32) -> &mut Self {
        let mut inner = Self::default();
        inner.string(1, name).number(2, number);
        self.bytes(field, &inner.0)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `criu_req` without options.
pub(crate) fn request(kind: Kind) -> Message {
    let mut message = Message::default();
    message.number(1, kind.0 as i64);
    message
}

/// `criu_req` with options.
pub(crate) fn request_with(kind: Kind, options: &Message) -> Message {
    let mut message = request(kind);
    message.bytes(2, options.as_bytes());
    message
}

/// The answer to a notification: go on.
pub(crate) fn notified() -> Message {
    let mut message = request(Kind::NOTIFY);
    message.number(3, true);
    message
}

/// Something that a kernel and a criu can or cannot do (`criu_features`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    MemTrack = 1,
    LazyPages = 2,
}

/// `criu_req` that asks for a feature.
pub(crate) fn request_feature(feature: Feature) -> Message {
    let mut wanted = Message::default();
    wanted.number(feature as u32, true);
    let mut message = request(Kind::FEATURE_CHECK);
    message.bytes(5, wanted.as_bytes());
    message
}

/// `criu_resp`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) kind: Option<u64>,
    pub(crate) success: bool,
    pub(crate) notify: Option<Notify>,
    pub(crate) errno: i32,
    pub(crate) message: Option<String>,
    /// Numbers of features that were answered, and the answers.
    pub(crate) features: Vec<(u32, bool)>,
    pub(crate) version: Option<Version>,
}

/// `criu_notify`: criu has come to a point where its caller may act.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Notify {
    pub(crate) script: String,
    pub(crate) pid: i32,
}

/// `criu_version`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) sublevel: u32,
    /// Built between two releases.
    pub(crate) git: bool,
}

impl Version {
    /// One number, as criu's own clients compare it: 3.17.1 is 31701. A build between releases counts as the next one.
    pub(crate) fn number(self) -> u32 {
        let base = self.major.saturating_mul(10_000).saturating_add(self.minor.saturating_mul(100));
        if self.git { base.saturating_add(100) } else { base.saturating_add(self.sublevel) }
    }
}

#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a type that none of our messages uses.
    Other,
}

impl Value<'_> {
    fn number(self) -> Result<u64> {
        match self {
            Self::Number(number) => Ok(number),
            _ => Err(garbled("a number is not one")),
        }
    }

    fn text(self) -> Result<String> {
        match self {
            Self::Bytes(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
            _ => Err(garbled("a string is not one")),
        }
    }
}

fn garbled(what: &str) -> Error {
    Error::corrupt(format!("cannot read criu's answer: {what}"))
}

/// Calls `each` for every field.
fn fields<'a>(mut rest: &'a [u8], mut each: impl FnMut(u32, Value<'a>) -> Result<()>) -> Result<()> {
    while !rest.is_empty() {
        let key = take_varint(&mut rest)?;
        let number = u32::try_from(key >> 3).ok().filter(|n| *n != 0).ok_or_else(|| garbled("a field's number"))?;
        let value = match key & 7 {
            0 => Value::Number(take_varint(&mut rest)?),
            2 => {
                let length = take_varint(&mut rest)?;
                let length = usize::try_from(length).map_err(|_| garbled("a length"))?;
                Value::Bytes(take(&mut rest, length)?)
            }
            1 => take(&mut rest, 8).map(|_| Value::Other)?,
            5 => take(&mut rest, 4).map(|_| Value::Other)?,
            _ => return Err(garbled("a field's type")),
        };
        each(number, value)?;
    }
    Ok(())
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(length).ok_or_else(|| garbled("it ends too early"))?;
    *rest = tail;
    Ok(head)
}

fn take_varint(rest: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(garbled("a number is too long"))
}

impl Response {
    /// Reads one packet. Unknown fields are skipped, as protobuf asks.
    pub(crate) fn parse(packet: &[u8]) -> Result<Self> {
        let mut response = Self::default();
        fields(packet, |number, value| {
            match (number, value) {
                (1, _) => response.kind = Some(value.number()?),
                (2, _) => response.success = value.number()? != 0,
                (5, Value::Bytes(inner)) => {
                    let mut notify = Notify::default();
                    fields(inner, |number, value| {
                        match number {
                            1 => notify.script = value.text()?,
                            2 => notify.pid = value.number()? as i32,
                            _ => {}
                        }
                        Ok(())
                    })?;
                    response.notify = Some(notify);
                }
                (7, _) => response.errno = value.number()? as i32,
                (8, Value::Bytes(inner)) => fields(inner, |number, value| {
                    if let Value::Number(answer) = value {
                        response.features.push((number, answer != 0));
                    }
                    Ok(())
                })?,
                (9, _) => response.message = Some(value.text()?),
                (10, Value::Bytes(inner)) => {
                    let mut version = Version::default();
                    fields(inner, |number, value| {
                        match number {
                            1 => version.major = value.number()? as u32,
                            2 => version.minor = value.number()? as u32,
                            3 => version.git = true,
                            4 => version.sublevel = value.number()? as u32,
                            _ => {}
                        }
                        Ok(())
                    })?;
                    response.version = Some(version);
                }
                _ => {}
            }
            Ok(())
        })?;
        if response.kind.is_none() {
            return Err(garbled("it does not say what it answers"));
        }
        Ok(response)
    }

    pub(crate) fn kind(&self) -> Kind {
        Kind(self.kind.unwrap_or(0))
    }

    /// Whether a feature was answered, and how.
    pub(crate) fn feature(&self, feature: Feature) -> Option<bool> {
        self.features.iter().find(|(number, _)| *number == feature as u32).map(|(_, answer)| *answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_protobuf() {
        assert_eq!(request(Kind::VERSION).as_bytes(), [0x08, 10]);
        assert_eq!(notified().as_bytes(), [0x08, 6, 0x18, 1]);
        assert_eq!(request_feature(Feature::LazyPages).as_bytes(), [0x08, 9, 0x2a, 2, 0x10, 1]);
        let mut options = Message::default();
        options.number(field::PID, 300).string(field::EXTERNAL, "ab").pair(field::EXT_MNT, "k", "v");
        options.number(field::IMAGES_DIR_FD, -1);
        assert_eq!(
            options.as_bytes(),
            [
                0x10, 0xac, 0x02, // pid
                0xaa, 0x02, 2, b'a', b'b', // external
                0xba, 0x01, 6, 0x0a, 1, b'k', 0x12, 1, b'v', // ext_mnt
                0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
            ]
        );
        assert_eq!(request_with(Kind::DUMP, &Message(vec![0x08, 3])).as_bytes(), [0x08, 1, 0x12, 2, 0x08, 3]);
    }

    #[test]
    fn answers_are_read() {
        // VERSION, success, version { 3, 17, sublevel 1 }
        let version = Response::parse(&[0x08, 10, 0x10, 1, 0x52, 6, 0x08, 3, 0x10, 17, 0x20, 1]).expect("parses");
        assert_eq!(version.version.map(Version::number), Some(31_701));
        let git = Version { major: 3, minor: 17, sublevel: 1, git: true };
        assert_eq!(git.number(), 31_800);
        // NOTIFY, success, notify { "post-restore", 4711 }
        let mut inner = Message::default();
        inner.string(1, "post-restore").number(2, 4711);
        let mut packet = request(Kind::NOTIFY);
        packet.number(2, true).bytes(5, inner.as_bytes());
        let notify = Response::parse(packet.as_bytes()).expect("parses").notify.expect("notify");
        assert_eq!((notify.script.as_str(), notify.pid), ("post-restore", 4711));
        // Unknown fields of every type, and a failure.
        let failed =
            Response::parse(&[0x08, 1, 0x10, 0, 0x38, 13, 0x7d, 1, 2, 3, 4, 0x79, 1, 2, 3, 4, 5, 6, 7, 8]).expect("ok");
        assert_eq!((failed.kind(), failed.success, failed.errno), (Kind::DUMP, false, 13));
        let features = Response::parse(&[0x08, 9, 0x10, 1, 0x42, 4, 0x08, 1, 0x10, 0]).expect("parses");
        assert_eq!(features.feature(Feature::MemTrack), Some(true));
        assert_eq!(features.feature(Feature::LazyPages), Some(false));
    }

    #[test]
    fn garbage_is_an_error_and_never_more() {
        for bad in [
            &[][..],
            &[0x10, 1],                                                             // no type
            &[0x08],                                                                // cut off
            &[0x08, 1, 0x2a, 5, 1],                                                 // a length beyond the end
            &[0x08, 1, 0x2a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], // a huge length
            &[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1], // an endless number
            &[0x0b, 1],                                                             // a group
            &[0x00, 1],                                                             // field 0
            &[0x0a, 1, 1],                                                          // a type that is no number
        ] {
            assert!(Response::parse(bad).is_err(), "{bad:?}");
        }
        // Every two-byte packet.
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                let _ = Response::parse(&[a, b]);
            }
        }
    }
}
