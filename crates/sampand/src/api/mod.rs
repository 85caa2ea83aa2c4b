//! The doors: each decodes a request of its protocol, makes one engine call, and encodes the answer.

pub mod docker;
