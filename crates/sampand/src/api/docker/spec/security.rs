//! `SecurityOpt`.

use super::unsupported;
use engine::model::{SeccompProfile, SecuritySpec};
use oci::{Error, Result};

/// What the options ask for.
///
/// # Errors
/// `InvalidArgument` for a malformed option, `Unsupported` for one that is missing.
pub fn options(options: &[String]) -> Result<SecuritySpec> {
    let mut spec = SecuritySpec::default();
    for option in options {
        // The colon is the separator before Docker 1.11.
        let (name, value) = match option.split_once('=').or_else(|| option.split_once(':')) {
            Some((name, value)) => (name, Some(value)),
            None => (option.as_str(), None),
        };
        match (name, value) {
            ("no-new-privileges", None | Some("true")) => spec.no_new_privileges = true,
            ("no-new-privileges", Some("false")) => spec.no_new_privileges = false,
            ("systempaths", Some("unconfined")) => spec.unconfined_paths = true,
            ("seccomp", Some("unconfined")) => spec.seccomp = SeccompProfile::Unconfined,
            ("seccomp", Some("builtin" | "default")) => spec.seccomp = SeccompProfile::Default,
            ("seccomp", Some(profile)) if profile.trim_start().starts_with('{') => {
                spec.seccomp = SeccompProfile::Custom(profile.to_owned());
            }
            ("seccomp", Some(_)) => {
                return Err(Error::invalid("Decoding seccomp profile failed: the profile is no JSON object"));
            }
            ("apparmor", Some(profile)) if !profile.is_empty() => spec.apparmor = Some(profile.to_owned()),
            // Nothing to switch off where SELinux is not used.
            ("label", Some("disable")) => {}
            ("label" | "writable-cgroups", _) => return Err(unsupported(&format!("SecurityOpt: {name}"))),
            _ => return Err(Error::invalid(format!("invalid --security-opt: {option:?}"))),
        }
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(option: &str) -> Result<SecuritySpec> {
        options(&[option.to_owned()])
    }

    #[test]
    fn known_options() {
        assert!(of("no-new-privileges").unwrap().no_new_privileges);
        assert!(of("no-new-privileges:true").unwrap().no_new_privileges);
        assert!(!of("no-new-privileges=false").unwrap().no_new_privileges);
        assert_eq!(of("seccomp=unconfined").unwrap().seccomp, SeccompProfile::Unconfined);
        assert_eq!(of("seccomp={}").unwrap().seccomp, SeccompProfile::Custom("{}".into()));
        assert_eq!(of("apparmor=unconfined").unwrap().apparmor.as_deref(), Some("unconfined"));
        assert!(of("systempaths=unconfined").unwrap().unconfined_paths);
        assert_eq!(of("label=disable").unwrap(), SecuritySpec::default());
    }

    #[test]
    fn others_are_refused() {
        for option in ["seccomp=/a/file", "seccomp", "label=type:x", "apparmor=", "bogus", "bogus=1"] {
            assert!(of(option).is_err(), "{option}");
        }
    }
}
