//! Labels of the security modules: what the program runs under after its execution.

use std::io::ErrorKind;

use oci::runtime::Process;
use oci::{Context, Error, Result};

use crate::procfs::Procfs;
use crate::selinux;

/// Checked against what the machine has.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    /// AppArmor profile.
    apparmor: Option<String>,
    /// SELinux process label.
    selinux: Option<String>,
}

impl Labels {
    /// What cannot be had on this machine is refused in runc's words; "unconfined" without AppArmor is what is there.
    pub(crate) fn from_spec(process: &Process) -> Result<Self> {
        let given = |label: &Option<String>| label.clone().filter(|l| !l.is_empty());
        let mut labels = Self { apparmor: given(&process.apparmor_profile), selinux: given(&process.selinux_label) };
        for (field, label) in [("apparmorProfile", &labels.apparmor), ("selinuxLabel", &labels.selinux)] {
            if label.as_ref().is_some_and(|l| l.contains('\0')) {
                return Err(Error::invalid(format!("process.{field}: contains a zero byte")));
            }
        }
        if let Some(profile) = &labels.apparmor
            && !apparmor_enabled()
        {
            if profile != "unconfined" {
                return Err(Error::unsupported(format!(
                    "process.apparmorProfile: {profile:?}: unable to apply apparmor profile: \
                     apparmor: config provided but apparmor not supported"
                )));
            }
            labels.apparmor = None;
        }
        if let Some(label) = &labels.selinux
            && !selinux::enabled()
        {
            return Err(Error::unsupported(format!(
                "process.selinuxLabel: {label:?}: selinux label is specified in config, but selinux is disabled or not \
                 supported"
            )));
        }
        Ok(labels)
    }

    /// Asks the kernel to put them on at the next execution; to be done while `/proc` is the runtime's. `keyring` is
    /// whether a new keyring will need the label too.
    pub(crate) fn apply(&self, keyring: bool) -> Result<()> {
        if self.apparmor.is_none() && self.selinux.is_none() {
            return Ok(());
        }
        self.write(&Procfs::open()?, keyring)
    }

    fn write(&self, proc: &Procfs, keyring: bool) -> Result<()> {
        if let Some(profile) = &self.apparmor {
            let value = format!("exec {profile}");
            // The module's own directory since Linux 5.8; the file that modules share before.
            let result = match proc.write("self/attr/apparmor/exec", value.as_bytes()) {
                Err(error) if error.kind() == ErrorKind::NotFound => proc.write("self/attr/exec", value.as_bytes()),
                result => result,
            };
            result.map_err(|error| match error.kind() {
                ErrorKind::NotFound => Error::not_found(format!(
                    "process.apparmorProfile: unable to apply apparmor profile: apply apparmor profile `{profile}`: \
                     profile not loaded"
                )),
                _ => Error::from(error).prefixed(format!(
                    "process.apparmorProfile: {profile:?}: unable to apply apparmor profile: \
                     apparmor failed to apply profile: write /proc/self/attr/apparmor/exec"
                )),
            })?;
        }
        if let Some(label) = &self.selinux {
            if keyring {
                proc.write("self/attr/keycreate", label.as_bytes())
                    .context(|| format!("process.selinuxLabel: {label:?}: can't set the keyring's label"))?;
            }
            proc.write("self/attr/exec", label.as_bytes())
                .context(|| format!("process.selinuxLabel: {label:?}: can't set process label"))?;
        }
        Ok(())
    }
}

/// Whether AppArmor is built in and switched on.
pub(crate) fn apparmor_enabled() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|on| on.first() == Some(&b'Y'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(apparmor: &str, selinux: &str) -> Process {
        Process { apparmor_profile: Some(apparmor.into()), selinux_label: Some(selinux.into()), ..Default::default() }
    }

    #[test]
    fn nothing_asked_is_nothing_done() {
        let labels = Labels::from_spec(&process("", "")).expect("empty");
        assert!(labels.apparmor.is_none() && labels.selinux.is_none());
        labels.apply(true).expect("nothing to do");
    }

    #[test]
    fn what_the_machine_lacks_is_refused() {
        if apparmor_enabled() || selinux::enabled() {
            println!("skipped: this machine has AppArmor or SELinux");
            return;
        }
        let error = Labels::from_spec(&process("p", "")).expect_err("refused").to_string();
        assert!(error.starts_with("process.apparmorProfile: \"p\"") && error.contains("not supported"), "{error}");
        let error = Labels::from_spec(&process("", "l")).expect_err("refused").to_string();
        assert!(error.contains("selinux label is specified in config, but selinux is disabled"), "{error}");
        assert!(Labels::from_spec(&process("unconfined", "")).expect("as it is").apparmor.is_none());
        // The kernel without the modules says no, and the write reaches it.
        let labels = Labels { apparmor: Some("p".into()), selinux: None };
        assert!(labels.write(&Procfs::open().expect("proc"), false).is_err());
    }
}
