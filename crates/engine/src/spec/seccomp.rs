//! System call filters: Docker's default policy, and profiles that people bring, made into the runtime's form.

use super::host::Host;
use super::seccomp_table::{DEFAULT, When};
use crate::model::SeccompProfile;
use oci::runtime::{Seccomp, SyscallArg, SyscallRule};
use oci::{Error, Result};
use serde::Deserialize;

/// The filter for a container with these capabilities; `None` for no filter.
pub(super) fn filter(
    profile: &SeccompProfile,
    privileged: bool,
    caps: &[String],
    host: &Host,
) -> Result<Option<Seccomp>> {
    match profile {
        SeccompProfile::Unconfined => Ok(None),
        SeccompProfile::Default if privileged || !host.seccomp => Ok(None),
        SeccompProfile::Default => Ok(Some(default_policy(caps, host))),
        SeccompProfile::Custom(_) if !host.seccomp => {
            Err(Error::unsupported("seccomp is not enabled in your kernel, cannot run a custom seccomp profile"))
        }
        SeccompProfile::Custom(text) => custom(text, caps, host).map(Some),
    }
}

fn default_policy(caps: &[String], host: &Host) -> Seccomp {
    let holds = |when: &When| {
        (when.arches.is_empty() || when.arches.contains(&host.arch.as_str()))
            && !when.not_arches.contains(&host.arch.as_str())
            && (when.cap.is_empty() || caps.iter().any(|c| c == when.cap))
            && (when.without_cap.is_empty() || caps.iter().all(|c| c != when.without_cap))
            && host.kernel >= when.kernel
    };
    let rules = DEFAULT.iter().filter(|row| holds(&row.when)).map(|row| SyscallRule {
        names: row.calls.iter().map(|&name| name.to_owned()).collect(),
        action: if row.errno.is_some() { "SCMP_ACT_ERRNO" } else { "SCMP_ACT_ALLOW" }.into(),
        errno_ret: row.errno,
        args: row
            .arg
            .iter()
            .map(|&(index, value, value_two, op)| SyscallArg { index, value, value_two, op: op.into() })
            .collect(),
    });
    Seccomp {
        default_action: "SCMP_ACT_ERRNO".into(),
        default_errno_ret: Some(1),
        architectures: native(&host.arch).iter().map(|&name| name.to_owned()).collect(),
        syscalls: rules.collect(),
        ..Default::default()
    }
}

/// The machine's architecture and those that it runs besides.
fn native(arch: &str) -> &'static [&'static str] {
    match arch {
        "amd64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "386" => &["SCMP_ARCH_X86"],
        "arm64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "arm" => &["SCMP_ARCH_ARM"],
        "ppc64le" => &["SCMP_ARCH_PPC64LE"],
        "s390x" => &["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
        "riscv64" => &["SCMP_ARCH_RISCV64"],
        _ => &[],
    }
}

/// Docker's profile format: the runtime's, and conditions.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<ArchMap>>,
    flags: Option<Vec<String>>,
    listener_path: Option<std::path::PathBuf>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: String,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<SyscallArg>>,
    #[serde(default)]
    includes: Option<Conditions>,
    #[serde(default)]
    excludes: Option<Conditions>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Conditions {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

fn custom(text: &str, caps: &[String], host: &Host) -> Result<Seccomp> {
    let profile: Profile = serde_json::from_str(text)
        .map_err(|e| Error::invalid(format!("Decoding seccomp profile failed: {e}")).with_source(e))?;
    if profile.default_action.is_empty() {
        return Err(Error::invalid("Decoding seccomp profile failed: defaultAction is missing"));
    }
    let given = profile.architectures.unwrap_or_default();
    let map = profile.arch_map.unwrap_or_default();
    if !given.is_empty() && !map.is_empty() {
        return Err(Error::invalid(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, use either",
        ));
    }
    let own = native(&host.arch).first().copied().unwrap_or("");
    let architectures = match map.into_iter().find(|entry| entry.architecture == own) {
        Some(entry) => std::iter::once(entry.architecture).chain(entry.sub_architectures.unwrap_or_default()).collect(),
        None => given,
    };
    let mut syscalls = Vec::new();
    for rule in profile.syscalls.unwrap_or_default() {
        let mut names = rule.names.unwrap_or_default();
        if !rule.name.is_empty() {
            if !names.is_empty() {
                return Err(Error::invalid(
                    "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'",
                ));
            }
            names.push(rule.name);
        }
        if let Some(condition) = &rule.includes
            && !included(condition, caps, host)?
        {
            continue;
        }
        if let Some(condition) = &rule.excludes
            && excluded(condition, caps, host)?
        {
            continue;
        }
        syscalls.push(SyscallRule {
            names,
            action: rule.action,
            errno_ret: rule.errno_ret,
            args: rule.args.unwrap_or_default(),
        });
    }
    Ok(Seccomp {
        default_action: profile.default_action,
        default_errno_ret: profile.default_errno_ret,
        architectures,
        flags: profile.flags,
        listener_path: profile.listener_path,
        listener_metadata: profile.listener_metadata,
        syscalls,
    })
}

/// Every condition holds.
fn included(condition: &Conditions, caps: &[String], host: &Host) -> Result<bool> {
    let list = |given: &Option<Vec<String>>| given.clone().unwrap_or_default();
    let (want, arches) = (list(&condition.caps), list(&condition.arches));
    Ok((arches.is_empty() || arches.contains(&host.arch))
        && want.iter().all(|cap| caps.contains(cap))
        && kernel(condition)?.is_none_or(|min| host.kernel >= min))
}

/// Any condition holds.
fn excluded(condition: &Conditions, caps: &[String], host: &Host) -> Result<bool> {
    let list = |given: &Option<Vec<String>>| given.clone().unwrap_or_default();
    Ok(list(&condition.arches).contains(&host.arch)
        || list(&condition.caps).iter().any(|cap| caps.contains(cap))
        || kernel(condition)?.is_some_and(|min| host.kernel >= min))
}

fn kernel(condition: &Conditions) -> Result<Option<(u32, u32)>> {
    let Some(text) = &condition.min_kernel else { return Ok(None) };
    let parsed = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parsed.map(Some).ok_or_else(|| Error::invalid(format!("invalid minKernel {text:?} in the seccomp profile")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions<'a>(filter: &'a Seccomp, call: &str) -> Vec<&'a SyscallRule> {
        filter.syscalls.iter().filter(|rule| rule.names.iter().any(|n| n == call)).collect()
    }

    #[test]
    fn capabilities_open_calls() {
        let host = Host::for_tests();
        let plain = default_policy(&[], &host);
        assert!(actions(&plain, "mount").is_empty());
        assert_eq!(actions(&plain, "clone")[0].args[0].op, "SCMP_CMP_MASKED_EQ");
        assert_eq!(actions(&plain, "clone3")[0].errno_ret, Some(38));
        let admin = default_policy(&["CAP_SYS_ADMIN".into()], &host);
        assert_eq!(actions(&admin, "mount").len(), 1);
        assert!(actions(&admin, "clone")[0].args.is_empty());
        assert_eq!(actions(&admin, "clone3")[0].action, "SCMP_ACT_ALLOW");
    }

    #[test]
    fn custom_profiles_are_resolved_for_machine_and_capabilities() {
        let host = Host::for_tests();
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO",
            "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},
                       {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":null}],
            "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":null},
                        {"name":"mount","action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
                        {"name":"clone3","action":"SCMP_ACT_ERRNO","errnoRet":38,"excludes":{"caps":["CAP_SYS_ADMIN"]}},
                        {"name":"later","action":"SCMP_ACT_ALLOW","includes":{"minKernel":"99.0"}}]}"#;
        let plain = custom(text, &[], &host).unwrap();
        assert_eq!(plain.architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
        assert_eq!(plain.syscalls.iter().map(|r| r.names[0].as_str()).collect::<Vec<_>>(), ["read", "clone3"]);
        let admin = custom(text, &["CAP_SYS_ADMIN".into()], &host).unwrap();
        assert_eq!(admin.syscalls.iter().map(|r| r.names[0].as_str()).collect::<Vec<_>>(), ["read", "mount"]);
        assert!(custom("{", &[], &host).is_err());
        assert!(custom("{}", &[], &host).is_err());
    }
}
