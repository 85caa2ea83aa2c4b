//! Frames around the lines of a log.

use bytes::{BufMut, Bytes, BytesMut};
use wire::docker::stream::{HEADER, Stream, header};

/// `data` with its head.
pub fn frame(stream: Stream, data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER + data.len());
    out.put_slice(&header(stream, u32::try_from(data.len()).unwrap_or(u32::MAX)));
    out.put_slice(data);
    out.freeze()
}
