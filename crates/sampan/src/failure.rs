//! Why a verb failed, and the exit code that says so.

use std::fmt;

/// Shorthand for results of this program.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// A failure, as it will be printed and answered to the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The whole text for standard error; empty where all has been said already.
    pub(crate) message: String,
    /// The exit code.
    pub(crate) code: i32,
    /// The status of the daemon's answer, if the daemon answered.
    pub(crate) status: Option<u16>,
}

impl Failure {
    /// A failure that prints `message` and ends with 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1, status: None }
    }

    /// An exit code without words.
    pub(crate) fn silent(code: i32) -> Self {
        Self { message: String::new(), code, status: None }
    }

    /// What the daemon answered with an error status.
    pub(crate) fn from_daemon(status: u16, message: impl fmt::Display) -> Self {
        Self { message: format!("Error response from daemon: {message}"), code: 1, status: Some(status) }
    }

    /// The same with another exit code.
    #[must_use]
    pub(crate) fn with_code(mut self, code: i32) -> Self {
        self.code = code;
        self
    }

    /// The same with `what: ` before its message.
    #[must_use]
    pub(crate) fn prefixed(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Whether the daemon said that the thing doesn't exist.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status == Some(404)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<oci::Error> for Failure {
    fn from(error: oci::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new(format!("the daemon's answer is not what the API says: {error}"))
    }
}

/// What a verb over several objects has gathered: it goes on past failures, and fails at the end.
#[derive(Debug, Default)]
pub(crate) struct Failures(Vec<Failure>);

impl Failures {
    /// Notes a failure.
    pub(crate) fn push(&mut self, failure: Failure) {
        self.0.push(failure);
    }

    /// The outcome of the whole verb.
    pub(crate) fn finish(self) -> Result<i32> {
        if self.0.is_empty() {
            return Ok(0);
        }
        let message = self.0.iter().map(|f| f.message.as_str()).collect::<Vec<_>>().join("\n");
        Err(Failure { message, code: self.0[0].code, status: self.0[0].status })
    }
}
