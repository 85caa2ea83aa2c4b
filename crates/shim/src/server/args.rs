//! The command line that containerd gives to every shim (core/runtime/v2/README.md): Go's flags, one dash or two.

use oci::{Error, Result};
use std::ffi::OsString;
use std::path::PathBuf;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Start a server (or find the pod's) and print its address.
    Start,
    /// Clean up after a server that is gone.
    Delete,
    /// Be the server; `start` runs this.
    Serve,
    /// Print the version.
    Version,
}

/// The command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Args {
    pub(super) action: Action,
    pub(super) namespace: String,
    pub(super) id: String,
    pub(super) address: PathBuf,
    pub(super) bundle: PathBuf,
    pub(super) debug: bool,
}

impl Args {
    pub(super) fn parse(args: impl Iterator<Item = OsString>) -> Result<Self> {
        let mut parsed = Self {
            action: Action::Serve,
            namespace: String::new(),
            id: String::new(),
            address: PathBuf::new(),
            bundle: PathBuf::new(),
            debug: false,
        };
        let mut args =
            args.map(|a| a.into_string().map_err(|a| Error::invalid(format!("argument {a:?} is not UTF-8"))));
        while let Some(arg) = args.next() {
            let arg = arg?;
            let Some(flag) = arg.strip_prefix('-').map(|f| f.strip_prefix('-').unwrap_or(f)) else {
                parsed.action = match arg.as_str() {
                    "start" => Action::Start,
                    "delete" => Action::Delete,
                    other => {
                        return Err(Error::invalid(format!("unknown action {other:?}: there are start and delete")));
                    }
                };
                continue;
            };
            let (name, inline) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            match name {
                "v" | "version" => parsed.action = Action::Version,
                "debug" => parsed.debug = inline.as_deref() != Some("false"),
                _ => {
                    let value = match inline {
                        Some(value) => value,
                        None => args.next().ok_or_else(|| Error::invalid(format!("flag -{name} wants a value")))??,
                    };
                    match name {
                        "namespace" => parsed.namespace = value,
                        "id" => parsed.id = value,
                        "address" => parsed.address = value.into(),
                        "bundle" => parsed.bundle = value.into(),
                        // Where to find the program that publishes events; ours go over ttrpc.
                        "publish-binary" | "socket" => {}
                        _ => return Err(Error::invalid(format!("flag provided but not defined: -{name}"))),
                    }
                }
            }
        }
        if parsed.action == Action::Version {
            return Ok(parsed);
        }
        if parsed.namespace.is_empty() {
            return Err(Error::invalid("shim namespace cannot be empty: give -namespace"));
        }
        check_id(&parsed.id)?;
        if parsed.bundle.as_os_str().is_empty() {
            parsed.bundle = std::env::current_dir()?;
        }
        Ok(parsed)
    }
}

/// containerd's rule for identifiers; it also makes them safe as file names.
pub(super) fn check_id(id: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    if id.len() <= 76 && id.bytes().all(plain) && edge(id.as_bytes().first()) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "identifier {id:?} must be 1 to 76 of A-Z a-z 0-9 _ . - and begin with a letter or digit"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args> {
        Args::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn reads_what_containerd_gives() {
        let args =
            parse("-namespace k8s.io -id c1 --address=/run/c.sock -publish-binary /x -bundle /b -debug start").unwrap();
        assert_eq!(args.action, Action::Start);
        assert_eq!((args.namespace.as_str(), args.id.as_str()), ("k8s.io", "c1"));
        assert!(args.debug);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for bad in [
            "start",
            "-namespace n -id ../x start",
            "-namespace n -id a -frob 1 start",
            "-namespace n -id a stop",
            "-id",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
