//! `/etc/hostname`.

use oci::{Error, Result};

/// The file's text for a host name.
///
/// # Errors
/// `InvalidArgument` if the kernel would not take it (1 to 64 bytes) or it has characters that
/// would break the files it goes into.
pub fn hostname(name: &str) -> Result<String> {
    check(name)?;
    Ok(format!("{name}\n"))
}

/// Refuses what can't be a name of a host.
pub(super) fn check(name: &str) -> Result<()> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=64).contains(&name.len()) && name.bytes().all(fine) && !name.starts_with(['.', '-']) {
        return Ok(());
    }
    Err(Error::invalid(format!("invalid host name {name:?}: expected 1 to 64 letters, digits, '-', '_', '.'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_break_files_are_refused() {
        assert_eq!(hostname("web-1.example").unwrap(), "web-1.example\n");
        for wrong in ["", "a b", "a\nb", "-a", &"x".repeat(65)] {
            assert!(hostname(wrong).is_err(), "{wrong:?}");
        }
    }
}
