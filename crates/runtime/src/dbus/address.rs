//! Addresses of buses: `unix:path=/run/user/1000/bus;unix:abstract=...`, with `%` escapes.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

use oci::{Context, Error, Result};

/// Connects to the first address of the list that answers.
pub(crate) fn connect(addresses: &str) -> Result<UnixStream> {
    let mut last = Err(Error::invalid(format!("D-Bus: {addresses:?} has no address of a kind that is known (unix)")));
    for address in addresses.split(';').filter(|a| !a.is_empty()) {
        let Some(socket) = parse(address)? else { continue };
        match UnixStream::connect_addr(&socket) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Err(error).context(|| format!("dial {address}")),
        }
    }
    last
}

/// `None` for a kind that is not known, as the specification wants it skipped.
fn parse(address: &str) -> Result<Option<SocketAddr>> {
    let Some(list) = address.strip_prefix("unix:") else { return Ok(None) };
    for pair in list.split(',') {
        let (key, text) = pair.split_once('=').unwrap_or((pair, ""));
        let made = match key {
            "path" => SocketAddr::from_pathname(path(text, address)?),
            "abstract" => SocketAddr::from_abstract_name(unescape(text, address)?),
            _ => continue,
        };
        return made.map(Some).context(|| format!("D-Bus address {address:?}"));
    }
    Ok(None)
}

fn path(text: &str, address: &str) -> Result<std::path::PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Ok(std::ffi::OsString::from_vec(unescape(text, address)?).into())
}

fn unescape(text: &str, address: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let hex = after.get(..2).and_then(|h| std::str::from_utf8(h).ok());
            let byte = hex.and_then(|h| u8::from_str_radix(h, 16).ok());
            bytes.push(byte.ok_or_else(|| Error::invalid(format!("D-Bus address {address:?}: a bad % escape")))?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_unescaped() {
        let socket = parse("unix:path=/run/user/1000/a%20b,guid=00").expect("valid").expect("unix");
        assert_eq!(socket.as_pathname().and_then(|p| p.to_str()), Some("/run/user/1000/a b"));
        let socket = parse("unix:abstract=/tmp/x").expect("valid").expect("unix");
        assert_eq!(socket.as_abstract_name(), Some(&b"/tmp/x"[..]));
        assert!(parse("tcp:host=localhost,port=1").expect("skipped").is_none());
        assert!(parse("unix:path=/a%2").is_err());
    }

    #[test]
    fn every_address_is_tried() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("bus");
        let _listener = std::os::unix::net::UnixListener::bind(&path).expect("bind");
        let list = format!("tcp:host=a;unix:path={0}/none;unix:path={0}/bus", directory.path().display());
        assert!(connect(&list).is_ok());
        let error = connect(&format!("unix:path={}/none", directory.path().display())).expect_err("nobody there");
        assert!(error.to_string().contains("no such file or directory"), "{error}");
        assert!(connect("tcp:host=a").expect_err("refused").to_string().contains("tcp:host=a"));
    }
}
