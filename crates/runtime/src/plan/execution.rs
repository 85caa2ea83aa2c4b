//! What a container's every process has of `linux`, also those that `exec` adds: execution domain and memory policy.

use oci::runtime::{Linux, MemoryPolicy as SpecPolicy, Personality};
use oci::{Context, Error, Result};
use serde::{Deserialize, Serialize};

use super::list;

/// Kept in the container's record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Execution {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) personality: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory_policy: Option<MemoryPolicy>,
}

/// Arguments of `set_mempolicy(2)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemoryPolicy {
    /// With flags.
    pub(crate) mode: u32,
    /// As bits, the lowest first.
    pub(crate) nodes: Vec<u64>,
}

/// Modes of a memory policy, by their number.
pub(crate) const MODES: [&str; 7] = [
    "MPOL_DEFAULT",
    "MPOL_PREFERRED",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_LOCAL",
    "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE",
];

/// Flags of a memory policy.
pub(crate) const FLAGS: [(&str, u32); 3] =
    [("MPOL_F_STATIC_NODES", 1 << 15), ("MPOL_F_RELATIVE_NODES", 1 << 14), ("MPOL_F_NUMA_BALANCING", 1 << 13)];

/// Flags of an execution domain, personality(2). The specification defines none yet; these are the kernel's.
const PERSONALITY_FLAGS: [(&str, u64); 11] = [
    ("UNAME26", 0x002_0000),
    ("ADDR_NO_RANDOMIZE", 0x004_0000),
    ("FDPIC_FUNCPTRS", 0x008_0000),
    ("MMAP_PAGE_ZERO", 0x010_0000),
    ("ADDR_COMPAT_LAYOUT", 0x020_0000),
    ("READ_IMPLIES_EXEC", 0x040_0000),
    ("ADDR_LIMIT_32BIT", 0x080_0000),
    ("SHORT_INODE", 0x100_0000),
    ("WHOLE_SECONDS", 0x200_0000),
    ("STICKY_TIMEOUTS", 0x400_0000),
    ("ADDR_LIMIT_3GB", 0x800_0000),
];

impl Execution {
    pub(crate) fn from_spec(linux: &Linux) -> Result<Self> {
        Ok(Self {
            personality: linux.personality.as_ref().map(personality).transpose()?,
            memory_policy: linux.memory_policy.as_ref().map(memory_policy).transpose()?,
        })
    }
}

fn personality(spec: &Personality) -> Result<u64> {
    let domain = match spec.domain.as_str() {
        "LINUX" => 0,
        "LINUX32" => 8,
        other => {
            return Err(Error::invalid(format!(
                "linux.personality.domain: invalid personality domain {other:?}; known are LINUX, LINUX32"
            )));
        }
    };
    spec.flags.iter().enumerate().try_fold(domain, |value, (index, flag)| {
        let known = PERSONALITY_FLAGS.iter().find(|(name, _)| name == flag);
        known.map(|(_, bit)| value | bit).ok_or_else(|| {
            let names = PERSONALITY_FLAGS.map(|(name, _)| name).join(", ");
            Error::unsupported(format!("linux.personality.flags[{index}]: unknown {flag:?}; known are {names}"))
        })
    })
}

/// `None` for an object with nothing in it.
fn memory_policy(spec: &SpecPolicy) -> Result<MemoryPolicy> {
    let nodes = spec.nodes.as_deref().unwrap_or_default();
    let Some(mode) = MODES.iter().position(|name| *name == spec.mode) else {
        return Err(Error::invalid(format!(
            "linux.memoryPolicy.mode: invalid memory policy mode {:?}; known are {}",
            spec.mode,
            MODES.join(", ")
        )));
    };
    let nodes =
        list::parse(nodes).context(|| format!("linux.memoryPolicy.nodes: invalid memory policy nodes {nodes:?}"))?;
    let mode = spec.flags.iter().enumerate().try_fold(mode as u32, |mode, (index, flag)| {
        let known = FLAGS.iter().find(|(name, _)| name == flag);
        known.map(|(_, bit)| mode | bit).ok_or_else(|| {
            let names = FLAGS.map(|(name, _)| name).join(", ");
            Error::invalid(format!(
                "linux.memoryPolicy.flags[{index}]: invalid memory policy flag {flag:?}; known are {names}"
            ))
        })
    })?;
    Ok(MemoryPolicy { mode, nodes: nodes.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personalities_are_numbers() {
        let of = |domain: &str, flags: &[&str]| {
            let flags = flags.iter().map(|f| f.to_string()).collect();
            personality(&Personality { domain: domain.into(), flags }).map_err(|e| e.to_string())
        };
        assert_eq!(of("LINUX", &[]), Ok(0));
        assert_eq!(of("LINUX32", &["ADDR_NO_RANDOMIZE"]), Ok(0x4_0008));
        assert!(of("linux", &[]).expect_err("refused").contains("linux.personality.domain"));
        assert!(of("LINUX", &["X"]).expect_err("refused").contains("linux.personality.flags[0]: unknown \"X\""));
    }

    #[test]
    fn memory_policies_are_modes_with_flags() {
        let of = |mode: &str, nodes: &str, flags: &[&str]| {
            let flags = flags.iter().map(|f| f.to_string()).collect();
            memory_policy(&SpecPolicy { mode: mode.into(), nodes: Some(nodes.into()), flags })
                .map_err(|e| e.to_string())
        };
        assert_eq!(
            of("MPOL_BIND", "0-1", &["MPOL_F_STATIC_NODES"]),
            Ok(MemoryPolicy { mode: 2 | 1 << 15, nodes: vec![3] })
        );
        for (mode, nodes, flags, words) in [
            ("INTERLEAVE", "0", &[][..], "invalid memory policy mode \"INTERLEAVE\""),
            ("", "0-7", &[], "invalid memory policy mode \"\""),
            ("", "", &[], "invalid memory policy mode \"\""),
            ("MPOL_BIND", "0-9876543210", &[], "invalid memory policy nodes"),
            ("MPOL_BIND", "0", &["bad"], "invalid memory policy flag \"bad\""),
        ] {
            let error = of(mode, nodes, flags).expect_err("refused");
            assert!(error.contains(words), "{error}");
        }
    }
}
