//! The stream of JSON objects that pull, push, load and import answer with.

use super::is_default;
use serde_json::Value;

model! {
    keys "camelCase";

    /// One object of the stream (Docker's `jsonmessage`).
    pub struct Message {
        #[serde(skip_serializing_if = "is_default")]
        stream: String,
        #[serde(skip_serializing_if = "is_default")]
        status: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        progress_detail: Option<Detail>,
        /// The bar as text, for clients that draw none.
        #[serde(skip_serializing_if = "is_default")]
        progress: String,
        /// The layer the message is about.
        #[serde(skip_serializing_if = "is_default")]
        id: String,
        /// Up to API 1.47: the message of `error_detail` once more.
        #[serde(skip_serializing_if = "is_default")]
        error: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        error_detail: Option<ErrorDetail>,
        /// Facts about the result, as the digest pushed.
        #[serde(skip_serializing_if = "Option::is_none")]
        aux: Option<Value>,
    }

    /// How far a transfer is, in bytes.
    pub struct Detail {
        #[serde(skip_serializing_if = "is_default")]
        current: i64,
        #[serde(skip_serializing_if = "is_default")]
        total: i64,
        #[serde(skip_serializing_if = "is_default")]
        start: i64,
        #[serde(rename = "hidecounts", skip_serializing_if = "is_default")]
        hide_counts: bool,
        #[serde(skip_serializing_if = "is_default")]
        units: String,
    }

    /// Why the operation failed.
    pub struct ErrorDetail {
        #[serde(skip_serializing_if = "is_default")]
        code: i64,
        message: String,
    }
}

impl Message {
    /// A status line, about `id` if that isn't empty.
    pub fn status(id: impl Into<String>, status: impl Into<String>) -> Self {
        Self { id: id.into(), status: status.into(), ..Self::default() }
    }

    /// A transfer's progress in bytes.
    #[must_use]
    pub fn with_bytes(mut self, current: u64, total: u64) -> Self {
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.progress_detail = Some(Detail { current: signed(current), total: signed(total), ..Detail::default() });
        self
    }

    /// The end of a stream that failed.
    pub fn failure(message: impl Into<String>) -> Self {
        let message = message.into();
        let detail = ErrorDetail { code: 0, message: message.clone() };
        Self { error: message, error_detail: Some(detail), ..Self::default() }
    }
}
