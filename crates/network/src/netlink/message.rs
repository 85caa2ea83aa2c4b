//! The bytes of netlink(7): messages with a header, a family's fixed struct, and nested attributes.
//!
//! ```text
//! nlmsghdr  len u32 | type u16 | flags u16 | seq u32 | port u32
//! body      the family's struct, then attributes
//! nlattr    len u16 | type u16 | payload | padding to 4
//! ```

/// Length of `nlmsghdr`.
pub(crate) const HEADER: usize = 16;
/// `NLM_F_REQUEST`
pub(crate) const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`
pub(crate) const ACK: u16 = 0x4;
/// `NLM_F_DUMP`
pub(crate) const DUMP: u16 = 0x300;
/// `NLM_F_EXCL`
pub(crate) const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`
pub(crate) const APPEND: u16 = 0x800;

const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

/// Several messages on their way to the kernel.
#[derive(Default)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    count: u32,
}

impl Messages {
    /// Adds one message whose body `fill` writes.
    pub(crate) fn push(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Body<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER]);
        fill(&mut Body { bytes: &mut self.bytes });
        let length = (self.bytes.len() - start) as u32;
        let header = &mut self.bytes[start..start + HEADER];
        header[0..4].copy_from_slice(&length.to_ne_bytes());
        header[4..6].copy_from_slice(&kind.to_ne_bytes());
        header[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        header[8..12].copy_from_slice(&self.count.to_ne_bytes());
        self.count += 1;
    }

    /// How many messages there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The bytes to send, with sequence numbers that start at `first`.
    pub(crate) fn numbered(mut self, first: u32) -> Vec<u8> {
        let mut at = 0;
        let mut number = first;
        while at < self.bytes.len() {
            self.bytes[at + 8..at + 12].copy_from_slice(&number.to_ne_bytes());
            number = number.wrapping_add(1);
            at += align(u32_at(&self.bytes, at).unwrap_or(u32::MAX) as usize);
        }
        self.bytes
    }
}

/// The body of a message, or the inside of a nested attribute.
pub(crate) struct Body<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Body<'_> {
    /// Appends the family's fixed struct.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    /// Appends an attribute.
    pub(crate) fn attr(&mut self, kind: u16, payload: &[u8]) {
        self.bytes.extend_from_slice(&((payload.len() + 4) as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(payload);
        self.pad();
    }

    /// A `u8` attribute.
    pub(crate) fn byte(&mut self, kind: u16, value: u8) {
        self.attr(kind, &[value]);
    }

    /// A `u32` attribute in the machine's byte order.
    pub(crate) fn word(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_ne_bytes());
    }

    /// A `u32` attribute in network byte order, as nftables has them.
    pub(crate) fn word_be(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    /// A `u64` attribute in network byte order.
    pub(crate) fn long_be(&mut self, kind: u16, value: u64) {
        self.attr(kind, &value.to_be_bytes());
    }

    /// A string attribute, with its NUL.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = Vec::with_capacity(value.len() + 1);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
        self.attr(kind, &bytes);
    }

    /// An attribute of attributes.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Body<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        fill(&mut Body { bytes: self.bytes });
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

/// One message from the kernel.
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) seq: u32,
    pub(crate) body: &'a [u8],
}

/// The messages in `bytes`; stops at the first malformed one.
pub(crate) fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = u32_at(bytes, at)? as usize;
        if length < HEADER {
            return None;
        }
        let body = bytes.get(at + HEADER..at + length)?;
        let message =
            Message { kind: u16_at(bytes, at + 4)?, flags: u16_at(bytes, at + 6)?, seq: u32_at(bytes, at + 8)?, body };
        at += align(length);
        Some(message)
    })
}

/// The attributes in `bytes` as type and payload; stops at the first malformed one.
pub(crate) fn attrs(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = u16_at(bytes, at)? as usize;
        if length < 4 {
            return None;
        }
        let kind = u16_at(bytes, at + 2)? & TYPE_MASK;
        let payload = bytes.get(at + 4..at + length)?;
        at += align(length);
        Some((kind, payload))
    })
}

/// The text of a string attribute, up to its NUL.
pub(crate) fn text(payload: &[u8]) -> String {
    let end = payload.iter().position(|&b| b == 0).unwrap_or(payload.len());
    String::from_utf8_lossy(&payload[..end]).into_owned()
}

/// The `u16` at an offset, in the machine's byte order.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// The `u32` at an offset, in the machine's byte order.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// The `u64` at an offset, in the machine's byte order.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut out = Messages::default();
        out.push(16, ACK, |m| {
            m.raw(&[1, 2, 3, 4]);
            m.text(3, "eth0");
            m.nest(18, |m| m.word(1, 7));
        });
        out.push(17, 0, |m| m.byte(9, 5));
        assert_eq!(out.count(), 2);
        let bytes = out.numbered(40);
        let read: Vec<_> = messages(&bytes).collect();
        assert_eq!((read[0].kind, read[0].flags, read[0].seq), (16, ACK | REQUEST, 40));
        assert_eq!((read[1].kind, read[1].seq), (17, 41));
        let attributes: Vec<_> = attrs(&read[0].body[4..]).collect();
        assert_eq!((attributes[0].0, text(attributes[0].1)), (3, "eth0".to_owned()));
        assert_eq!(attributes[1].0, 18);
        assert_eq!(attrs(attributes[1].1).next(), Some((1, &7u32.to_ne_bytes()[..])));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for message in messages(&bytes) {
                for (_, payload) in attrs(message.body) {
                    text(payload);
                    let _inner = attrs(payload).count();
                }
            }
        }
    }
}
