//! ttrpc's frames (containerd/ttrpc, PROTOCOL.md).
//!
//! ```text
//!  0        4        8   9   10
//! ┌────────┬────────┬───┬───┬──────────────┐
//! │ length │ stream │typ│flg│ length bytes │   integers in network order
//! └────────┴────────┴───┴───┴──────────────┘
//! client streams are odd; type 1 request, 2 response, 3 data
//! ```

use prost::Message;

/// Bytes of a frame's header.
pub const HEADER: usize = 10;
/// The largest frame that either side takes.
pub const LIMIT: usize = 4 << 20;
/// Type of a request.
pub const REQUEST: u8 = 1;
/// Type of a response.
pub const RESPONSE: u8 = 2;

/// A call.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// As in `containerd.task.v2.Task`.
    #[prost(string, tag = "1")]
    pub service: String,
    /// As in `Create`.
    #[prost(string, tag = "2")]
    pub method: String,
    /// The encoded request message.
    #[prost(bytes = "vec", tag = "3")]
    pub payload: Vec<u8>,
    /// The caller's patience; 0 for none.
    #[prost(int64, tag = "4")]
    pub timeout_nano: i64,
    /// Headers.
    #[prost(message, repeated, tag = "5")]
    pub metadata: Vec<KeyValue>,
}

/// One header of a call.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct KeyValue {
    /// Name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// An answer.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    /// Absent or code 0 for success.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// The encoded response message.
    #[prost(bytes = "vec", tag = "2")]
    pub payload: Vec<u8>,
}

/// `google.rpc.Status`
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// gRPC's code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// What went wrong.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Not used here.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<crate::well_known::Any>,
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes that follow the header.
    pub length: usize,
    /// The call it belongs to.
    pub stream: u32,
    /// [`REQUEST`], [`RESPONSE`] or 3 (data).
    pub kind: u8,
    /// Flags of streaming calls.
    pub flags: u8,
}

impl Header {
    /// Decodes a header. The length is not checked here: compare it with [`LIMIT`].
    pub fn decode(bytes: &[u8; HEADER]) -> Self {
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self { length: word(0) as usize, stream: word(4), kind: bytes[8], flags: bytes[9] }
    }
}

/// A whole frame that carries `message`.
pub fn frame(stream: u32, kind: u8, message: &impl Message) -> Vec<u8> {
    let length = message.encoded_len();
    let mut out = Vec::with_capacity(HEADER + length);
    out.extend_from_slice(&(length as u32).to_be_bytes());
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(&[kind, 0]);
    // Writing to a Vec cannot run out of room.
    let _ = message.encode(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_back() {
        let request = Request { service: "s".into(), method: "m".into(), payload: vec![1, 2, 3], ..Request::default() };
        let bytes = frame(7, REQUEST, &request);
        let header = Header::decode(bytes[..HEADER].try_into().unwrap());
        assert_eq!(header, Header { length: bytes.len() - HEADER, stream: 7, kind: REQUEST, flags: 0 });
        assert_eq!(Request::decode(&bytes[HEADER..]).unwrap(), request);
    }
}
