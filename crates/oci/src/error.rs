//! The error type that crosses crate borders: a kind to branch on, a sentence to read, and a cause.

use std::fmt;

/// Shorthand for results of this workspace.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the terms a door needs to choose its status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The caller's input is wrong; repeating it cannot help.
    InvalidArgument,
    /// The named thing does not exist.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// The thing exists but its present state forbids the operation.
    Conflict,
    /// The kernel or a policy refused.
    PermissionDenied,
    /// Credentials are missing or wrong.
    Unauthorized,
    /// A peer does not answer, cut the line, or answered that it cannot; a retry may help.
    Unavailable,
    /// A deadline passed.
    DeadlineExceeded,
    /// Disk, memory or another bounded resource is used up.
    ResourceExhausted,
    /// The feature is not supported; the message names it.
    Unsupported,
    /// Data does not match its digest, length or format.
    Corrupt,
    /// The caller gave up.
    Cancelled,
    /// A defect or an environment failure that fits no other kind.
    Internal,
}

/// An error with its kind, one sentence that names the thing, and an optional cause.
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {
        $(
            #[doc = concat!("An error of [`Kind::", stringify!($kind), "`].")]
            pub fn $name(message: impl Into<String>) -> Self {
                Self::new(Kind::$kind, message)
            }
        )*
    };
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    constructors! {
        invalid => InvalidArgument,
        not_found => NotFound,
        already_exists => AlreadyExists,
        conflict => Conflict,
        permission_denied => PermissionDenied,
        unauthorized => Unauthorized,
        unavailable => Unavailable,
        deadline => DeadlineExceeded,
        exhausted => ResourceExhausted,
        unsupported => Unsupported,
        corrupt => Corrupt,
        cancelled => Cancelled,
        internal => Internal,
    }

    /// The same error with `source` as its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error as another kind: for a caller who knows better whose fault it is.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The kind, for branching and for translation into an API's codes.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The first sentence, without its causes.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same kind, with `what: ` put before the message.
    #[must_use]
    pub fn prefixed(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

/// The kind an I/O error amounts to for a caller.
fn kind_of_io(error: &std::io::Error) -> Kind {
    use std::io::ErrorKind as Io;
    match error.kind() {
        Io::NotFound => Kind::NotFound,
        Io::AlreadyExists => Kind::AlreadyExists,
        Io::PermissionDenied | Io::ReadOnlyFilesystem => Kind::PermissionDenied,
        Io::StorageFull | Io::QuotaExceeded | Io::OutOfMemory | Io::FileTooLarge => Kind::ResourceExhausted,
        Io::TimedOut => Kind::DeadlineExceeded,
        Io::ConnectionRefused
        | Io::ConnectionReset
        | Io::ConnectionAborted
        | Io::BrokenPipe
        | Io::NotConnected
        | Io::HostUnreachable
        | Io::NetworkUnreachable
        | Io::UnexpectedEof => Kind::Unavailable,
        Io::InvalidInput => Kind::InvalidArgument,
        Io::InvalidData => Kind::Corrupt,
        Io::Unsupported => Kind::Unsupported,
        _ => Kind::Internal,
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        let kind = kind_of_io(&error);
        Self { kind, message: io_message(&error), source: None }
    }
}

/// The system's words as every other program of this trade prints them, because callers look for them in messages:
/// `no such file or directory`, and not `No such file or directory (os error 2)`.
fn io_message(error: &std::io::Error) -> String {
    let text = error.to_string();
    let Some(code) = error.raw_os_error() else { return text };
    let words = text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text);
    match words.split_at_checked(1) {
        Some((first, rest)) if !rest.starts_with(|c: char| c.is_ascii_uppercase() || c == '/') => {
            first.to_ascii_lowercase() + rest
        }
        _ => words.to_owned(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut cause = self.source.as_deref().map(|s| s as &dyn std::error::Error);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            // Our own Display already prints the whole chain below it.
            cause = if error.is::<Error>() { None } else { error.source() };
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:?}] {self}", self.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|s| s as _)
    }
}

/// Adds what was being done to an error on its way up.
pub trait Context<T> {
    /// Keeps the kind and puts `what()` before the message.
    fn context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for Result<T, E> {
    fn context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|e| e.into().prefixed(what()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_keeps_the_kind_and_reads_as_a_sentence() {
        let io = std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = Err::<(), _>(io).context(|| "open /a/b").unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(error.to_string(), "open /a/b: entity not found");
    }

    #[test]
    fn system_errors_read_as_elsewhere() {
        let error = Error::from(std::io::Error::from_raw_os_error(2));
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::NotFound, "no such file or directory"));
    }

    #[test]
    fn display_prints_every_cause_once() {
        let inner = Error::corrupt("bad sum").with_source(std::io::Error::other("x"));
        let outer = Error::internal("layer 3").with_source(inner);
        assert_eq!(outer.to_string(), "layer 3: bad sum: x");
    }
}
