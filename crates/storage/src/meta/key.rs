//! A record's key: namespace, kind and id, joined by NUL so that a range is a prefix.

use crate::Result;
use oci::Error;

/// A namespace that starts with this is the store's own.
const RESERVED: char = '.';

/// An encoded key.
pub(super) struct Key(Vec<u8>);

/// The parts of a stored key.
pub(super) struct Parts<'a> {
    pub(super) namespace: &'a str,
    pub(super) id: &'a str,
}

impl Key {
    pub(super) fn new(namespace: &str, kind: &str, id: &str) -> Result<Self> {
        let mut bytes = Self::prefix_of_kind(namespace, kind)?;
        if id.is_empty() || id.contains('\0') {
            return Err(Error::invalid(format!("invalid {kind} id {id:?}: it must not be empty or contain NUL")));
        }
        bytes.extend_from_slice(id.as_bytes());
        Ok(Self(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn prefix_of_namespace(namespace: &str) -> Vec<u8> {
        let mut bytes = namespace.as_bytes().to_vec();
        bytes.push(0);
        bytes
    }

    pub(super) fn prefix_of_kind(namespace: &str, kind: &str) -> Result<Vec<u8>> {
        for (what, part) in [("namespace", namespace), ("kind", kind)] {
            if part.is_empty() || part.contains('\0') {
                return Err(Error::invalid(format!("invalid {what} {part:?}: it must not be empty or contain NUL")));
            }
        }
        let mut bytes = Self::prefix_of_namespace(namespace);
        bytes.extend_from_slice(kind.as_bytes());
        bytes.push(0);
        Ok(bytes)
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Parts<'_>> {
        let parts = std::str::from_utf8(bytes).ok().and_then(|text| {
            let (namespace, rest) = text.split_once('\0')?;
            let (_, id) = rest.split_once('\0')?;
            Some(Parts { namespace, id })
        });
        parts.ok_or_else(|| Error::corrupt("metadata database: a key is not of the form namespace, kind, id"))
    }
}

/// The first key after every key that starts with `prefix`, which ends in NUL.
pub(super) fn prefix_end(mut prefix: Vec<u8>) -> Vec<u8> {
    if let Some(last) = prefix.last_mut() {
        *last = 1;
    }
    prefix
}

pub(super) fn is_reserved(namespace: &str) -> bool {
    namespace.starts_with(RESERVED)
}

/// Refuses the store's own namespaces to everybody else.
pub(super) fn check_part(what: &str, part: &str) -> Result<()> {
    if is_reserved(part) {
        return Err(Error::invalid(format!("invalid {what} {part:?}: a leading dot is reserved for the store itself")));
    }
    Ok(())
}
