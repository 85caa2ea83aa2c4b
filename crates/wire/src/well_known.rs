//! The few of protobuf's well-known types that the services use.

use prost::Message;

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    /// What `value` holds. containerd writes the bare name for its own types, without `type.googleapis.com/`.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The encoded message.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

impl Any {
    /// `message` under containerd's bare `name`.
    pub fn pack(name: &str, message: &impl Message) -> Self {
        Self { type_url: name.into(), value: message.encode_to_vec() }
    }
}

/// `google.protobuf.Timestamp`
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Timestamp {
    /// Seconds since the epoch.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds within the second.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// `google.protobuf.Empty`
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Empty {}
