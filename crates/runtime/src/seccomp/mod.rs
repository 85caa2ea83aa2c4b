//! `linux.seccomp` to a filter program.
//!
//! ```text
//! rules ──resolve──► per architecture: number → leaf (a plain action, or comparisons)
//!       ──compile──► ranges of numbers with one leaf ──► binary search in classic BPF
//! ```
//!
//! Two decisions follow runc, because images depend on them: a number above the last one that the policy names gives
//! `ENOSYS` and not the default action, so that newer C libraries fall back; and several comparisons of one argument
//! in one rule are alternatives.

mod compile;
pub(crate) mod table;

use oci::runtime::{Seccomp, SyscallArg};
use oci::{Context, Error, Result};
use sys::seccomp::Instruction;

use compile::{Comparison, Leaf, Policy, RuleSet};
use table::Arch;

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Flags for `seccomp(2)`.
    pub(crate) flags: u64,
    /// The program.
    pub(crate) program: Vec<Instruction>,
}

const ALLOW: u32 = 0x7fff_0000;
const LOG: u32 = 0x7ffc_0000;
const TRACE: u32 = 0x7ff0_0000;
const ERRNO: u32 = 0x0005_0000;
const TRAP: u32 = 0x0003_0000;
const KILL_THREAD: u32 = 0;
const KILL_PROCESS: u32 = 0x8000_0000;
const ENOSYS: u32 = 38;
const EPERM: u32 = 1;

/// Actions by name, for `features`.
pub(crate) const ACTIONS: [&str; 8] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// Comparisons by name, for `features`.
pub(crate) const OPERATORS: [&str; 7] =
    ["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"];

/// Architectures by name.
const ARCHES: [(&str, Arch); 5] = [
    ("SCMP_ARCH_AARCH64", Arch::Aarch64),
    ("SCMP_ARCH_ARM", Arch::Arm),
    ("SCMP_ARCH_X32", Arch::X32),
    ("SCMP_ARCH_X86", Arch::X86),
    ("SCMP_ARCH_X86_64", Arch::X86_64),
];

/// Architectures that the specification names and that no machine Sampan runs on can execute: they may be listed, as
/// policies for many machines do, and are left out.
const FOREIGN_ARCHES: [&str; 17] = [
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_SH",
];

/// Flags by name.
const FLAGS: [(&str, u64); 4] = [
    ("SECCOMP_FILTER_FLAG_LOG", 1 << 1),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", 1 << 2),
    ("SECCOMP_FILTER_FLAG_TSYNC", 1),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 1 << 5),
];

/// Architecture names, for `features`.
pub(crate) fn arch_names() -> Vec<String> {
    ARCHES.iter().map(|a| a.0.to_owned()).collect()
}

/// Flag names, known and supported by this kernel, for `features`.
pub(crate) fn flag_names() -> (Vec<String>, Vec<String>) {
    let usable = FLAGS.iter().filter(|f| f.0 != "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV");
    let known = usable.clone().map(|f| f.0.to_owned()).collect();
    (known, usable.filter(|f| sys::seccomp::flag_supported(f.1)).map(|f| f.0.to_owned()).collect())
}

#[cfg(target_arch = "x86_64")]
const NATIVE: Arch = Arch::X86_64;
#[cfg(target_arch = "aarch64")]
const NATIVE: Arch = Arch::Aarch64;

impl Filter {
    /// Checks a policy and compiles it.
    pub(crate) fn compile(spec: &Seccomp) -> Result<Self> {
        Self::compile_for(spec, NATIVE)
    }

    fn compile_for(spec: &Seccomp, native: Arch) -> Result<Self> {
        if spec.listener_path.is_some() || spec.listener_metadata.is_some() {
            return Err(Error::unsupported("linux.seccomp.listenerPath: seccomp notification is not supported"));
        }
        let mut flags = 0;
        for flag in &spec.flags {
            let Some((_, bit)) = FLAGS.iter().find(|f| f.0 == flag) else {
                return Err(Error::unsupported(format!("linux.seccomp.flags: unknown {flag:?}")));
            };
            if flag == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" {
                return Err(Error::invalid(format!("linux.seccomp.flags: {flag} needs SCMP_ACT_NOTIFY")));
            }
            // There is one thread, so synchronising is already done; and the flag changes what failure looks like.
            if flag != "SECCOMP_FILTER_FLAG_TSYNC" {
                flags |= bit;
            }
        }
        let mut arches = vec![native];
        for name in &spec.architectures {
            match ARCHES.iter().find(|a| a.0 == name) {
                Some((_, arch)) if arches.contains(arch) => {}
                Some((_, arch)) => arches.push(*arch),
                None if FOREIGN_ARCHES.contains(&name.as_str()) => {}
                None => return Err(Error::invalid(format!("linux.seccomp.architectures: unknown {name:?}"))),
            }
        }
        let default = action(&spec.default_action, spec.default_errno_ret).context(|| "linux.seccomp.defaultAction")?;
        let mut sets: Vec<RuleSet> = arches.iter().map(|arch| RuleSet::new(*arch)).collect();
        for (index, rule) in spec.syscalls.iter().enumerate() {
            let at = || format!("linux.seccomp.syscalls[{index}]");
            let verdict = action(&rule.action, rule.errno_ret).context(at)?;
            let alternatives = alternatives(&rule.args).context(at)?;
            for name in &rule.names {
                // Names that this table does not know are skipped, as the specification asks: policies name the calls
                // of every kernel and machine.
                let Some(numbers) = table::lookup(name) else { continue };
                for set in &mut sets {
                    set.add(name, numbers, verdict, &alternatives, default);
                }
            }
        }
        let lenient = matches!(default & 0xffff_0000, ALLOW | LOG | TRACE);
        let beyond = if lenient { default } else { ERRNO | ENOSYS };
        let policy = Policy { default, beyond, bad_arch: KILL_THREAD };
        let program = compile::program(&policy, &sets);
        if program.len() > 4096 {
            return Err(Error::exhausted(format!(
                "linux.seccomp: the policy compiles to {} instructions, the kernel takes 4096",
                program.len()
            )));
        }
        Ok(Self { flags, program })
    }

    /// The filter as a file of the state directory: flags, then instructions, little-endian.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + self.program.len() * 8);
        bytes.extend_from_slice(&self.flags.to_le_bytes());
        for i in &self.program {
            bytes.extend_from_slice(&i.code.to_le_bytes());
            bytes.extend_from_slice(&[i.jump_true, i.jump_false]);
            bytes.extend_from_slice(&i.k.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Filter::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bad = || Error::corrupt("the stored seccomp filter is damaged");
        let (flags, rest) = bytes.split_first_chunk::<8>().ok_or_else(bad)?;
        let (chunks, []) = rest.as_chunks::<8>() else { return Err(bad()) };
        let program = chunks
            .iter()
            .map(|&[a, b, jump_true, jump_false, w, x, y, z]| Instruction {
                code: u16::from_le_bytes([a, b]),
                jump_true,
                jump_false,
                k: u32::from_le_bytes([w, x, y, z]),
            })
            .collect();
        Ok(Self { flags: u64::from_le_bytes(*flags), program })
    }

    /// Puts the filter on this process.
    pub(crate) fn install(&self) -> Result<()> {
        sys::seccomp::install(&self.program, self.flags).map(drop).context(|| "install the seccomp filter")
    }
}

/// An action and its data as the kernel's return value.
fn action(name: &str, data: Option<u32>) -> Result<u32> {
    let with_data = |base: u32| match data {
        Some(errno) if errno > 0xffff => Err(Error::invalid(format!("errnoRet {errno} is more than 65535"))),
        errno => Ok(base | errno.unwrap_or(EPERM)),
    };
    let plain = match name {
        "SCMP_ACT_ERRNO" => return with_data(ERRNO),
        "SCMP_ACT_TRACE" => return with_data(TRACE),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => KILL_PROCESS,
        "SCMP_ACT_TRAP" => TRAP,
        "SCMP_ACT_ALLOW" => ALLOW,
        "SCMP_ACT_LOG" => LOG,
        "SCMP_ACT_NOTIFY" => return Err(Error::unsupported("action SCMP_ACT_NOTIFY is not supported")),
        other => return Err(Error::invalid(format!("unknown action {other:?}"))),
    };
    match data {
        Some(_) => Err(Error::invalid(format!("errnoRet cannot be given with action {name}"))),
        None => Ok(plain),
    }
}

/// The comparisons of a rule as a list of alternatives, each a list of comparisons that must all hold.
fn alternatives(args: &[SyscallArg]) -> Result<Vec<Leaf>> {
    let mut comparisons = Vec::with_capacity(args.len());
    for arg in args {
        if arg.index > 5 {
            return Err(Error::invalid(format!("args: index {} is more than 5", arg.index)));
        }
        comparisons.push(Comparison::from_spec(arg)?);
    }
    let repeated = comparisons.iter().enumerate().any(|(i, c)| comparisons[..i].iter().any(|d| d.index == c.index));
    Ok(if repeated { comparisons.into_iter().map(|c| vec![c]).collect() } else { vec![comparisons] })
}

#[cfg(all(test, target_arch = "x86_64"))]
mod oracle;
#[cfg(test)]
mod tests;
