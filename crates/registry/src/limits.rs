//! The bounds on what a registry can make us hold or do.

/// The longest manifest or index that is read, in bytes (distribution-spec's suggestion).
pub const MANIFEST_LIMIT: u64 = 4 << 20;
/// The longest error document that is read, in bytes; the rest is ignored.
pub(crate) const ERROR_LIMIT: u64 = 64 << 10;
/// The longest answer of a token server, in bytes.
pub(crate) const TOKEN_LIMIT: u64 = 1 << 20;
/// Redirects followed for one request.
pub(crate) const REDIRECTS: usize = 10;
/// The read buffer of a connection, which also bounds the head of an answer, in bytes.
pub(crate) const BUFFER: usize = 128 << 10;
/// Header lines in the head of an answer.
pub(crate) const HEADERS: usize = 128;
/// Idle connections kept for one host.
pub(crate) const IDLE_PER_HOST: usize = 8;
/// Idle connections kept altogether.
pub(crate) const IDLE_TOTAL: usize = 64;
/// Authorizations kept.
pub(crate) const GRANTS: usize = 1024;
/// Characters of a registry's own words that are passed on in an error.
pub(crate) const MESSAGE: usize = 512;
/// Pages of a tag list that are read.
pub(crate) const TAG_PAGES: usize = 1000;
/// Bytes of one page of a tag list.
pub(crate) const TAG_PAGE: u64 = 4 << 20;
/// Tags in a list altogether.
pub(crate) const TAGS: usize = 100_000;
/// Files read from one certificate directory.
pub(crate) const CERT_FILES: usize = 64;
/// The longest certificate or key file, in bytes.
pub(crate) const CERT_SIZE: u64 = 1 << 20;
/// The piece in which a blob is read from its source on the way up, in bytes.
pub(crate) const PIECE: usize = 128 << 10;
