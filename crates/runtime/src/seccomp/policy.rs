//! The specification's words for actions, comparisons, architectures and flags, and what they mean to the kernel.

use oci::runtime::SyscallArg;
use oci::{Error, Result};

use super::table::Arch;

pub(super) const ALLOW: u32 = 0x7fff_0000;
pub(super) const LOG: u32 = 0x7ffc_0000;
pub(super) const TRACE: u32 = 0x7ff0_0000;
pub(super) const NOTIFY: u32 = 0x7fc0_0000;
pub(super) const ERRNO: u32 = 0x0005_0000;
pub(super) const TRAP: u32 = 0x0003_0000;
pub(super) const KILL_THREAD: u32 = 0;
pub(super) const KILL_PROCESS: u32 = 0x8000_0000;
pub(super) const ENOSYS: u32 = 38;
pub(super) const EPERM: u32 = 1;

/// Actions by name.
pub(super) const ACTIONS: [(&str, u32); 9] = [
    ("SCMP_ACT_ALLOW", ALLOW),
    ("SCMP_ACT_ERRNO", ERRNO),
    ("SCMP_ACT_KILL", KILL_THREAD),
    ("SCMP_ACT_KILL_PROCESS", KILL_PROCESS),
    ("SCMP_ACT_KILL_THREAD", KILL_THREAD),
    ("SCMP_ACT_LOG", LOG),
    ("SCMP_ACT_NOTIFY", NOTIFY),
    ("SCMP_ACT_TRACE", TRACE),
    ("SCMP_ACT_TRAP", TRAP),
];

/// Comparisons by name.
pub(super) const OPERATORS: [&str; 7] =
    ["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"];

/// Every architecture of the specification. Those without a table cannot execute on any machine that this program is
/// built for, so that what a policy says about them never matters: they may be listed, as policies for many machines
/// do, and make no instruction.
pub(super) const ARCHES: [(&str, Option<Arch>); 22] = [
    ("SCMP_ARCH_AARCH64", Some(Arch::Aarch64)),
    ("SCMP_ARCH_ARM", Some(Arch::Arm)),
    ("SCMP_ARCH_LOONGARCH64", None),
    ("SCMP_ARCH_M68K", None),
    ("SCMP_ARCH_MIPS", None),
    ("SCMP_ARCH_MIPS64", None),
    ("SCMP_ARCH_MIPS64N32", None),
    ("SCMP_ARCH_MIPSEL", None),
    ("SCMP_ARCH_MIPSEL64", None),
    ("SCMP_ARCH_MIPSEL64N32", None),
    ("SCMP_ARCH_PARISC", None),
    ("SCMP_ARCH_PARISC64", None),
    ("SCMP_ARCH_PPC", None),
    ("SCMP_ARCH_PPC64", None),
    ("SCMP_ARCH_PPC64LE", None),
    ("SCMP_ARCH_RISCV64", None),
    ("SCMP_ARCH_S390", None),
    ("SCMP_ARCH_S390X", None),
    ("SCMP_ARCH_SH", None),
    ("SCMP_ARCH_X32", Some(Arch::X32)),
    ("SCMP_ARCH_X86", Some(Arch::X86)),
    ("SCMP_ARCH_X86_64", Some(Arch::X86_64)),
];

pub(super) const FLAG_TSYNC: u64 = 1;
pub(super) const FLAG_SPEC_ALLOW: u64 = 1 << 2;
pub(super) const FLAG_WAIT_KILLABLE: u64 = 1 << 5;

/// Flags by name, in runc's order.
pub(super) const FLAGS: [(&str, u64); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", FLAG_TSYNC),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", FLAG_SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_LOG", 1 << 1),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", FLAG_WAIT_KILLABLE),
];

/// The names of a table as "A, B, C", for messages.
pub(super) fn names<T>(table: &[(&str, T)]) -> String {
    table.iter().map(|row| row.0).collect::<Vec<_>>().join(", ")
}

/// Comparisons that must all hold; none means always.
pub(super) type Leaf = Vec<Comparison>;

/// One comparison of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) index: u32,
    pub(super) op: Op,
    pub(super) value: u64,
    /// All ones but for `SCMP_CMP_MASKED_EQ`.
    pub(super) mask: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Comparison {
    fn from_spec(arg: &SyscallArg) -> Result<Self> {
        if arg.index > 5 {
            return Err(Error::invalid(format!("index: {} is more than 5, the last argument", arg.index)));
        }
        let (op, value, mask) = match arg.op.as_str() {
            "SCMP_CMP_EQ" => (Op::Equal, arg.value, u64::MAX),
            "SCMP_CMP_NE" => (Op::NotEqual, arg.value, u64::MAX),
            "SCMP_CMP_LT" => (Op::Less, arg.value, u64::MAX),
            "SCMP_CMP_LE" => (Op::LessEqual, arg.value, u64::MAX),
            "SCMP_CMP_GT" => (Op::Greater, arg.value, u64::MAX),
            "SCMP_CMP_GE" => (Op::GreaterEqual, arg.value, u64::MAX),
            "SCMP_CMP_MASKED_EQ" => (Op::Equal, arg.value_two & arg.value, arg.value),
            other => {
                return Err(Error::invalid(format!(
                    "op: string {other} is not a valid operator for seccomp; known are {}",
                    OPERATORS.join(", ")
                )));
            }
        };
        Ok(Self { index: arg.index, op, value, mask })
    }
}

/// An action and its data as the kernel's return value.
pub(super) fn action(name: &str, data: Option<u32>) -> Result<u32> {
    let Some((_, base)) = ACTIONS.iter().find(|a| a.0 == name) else {
        return Err(Error::invalid(format!(
            "string {name} is not a valid action for seccomp; known are {}",
            names(&ACTIONS)
        )));
    };
    // More than the kernel's largest error number would silently be that one.
    let most = if *base == ERRNO { 4095 } else { 0xffff };
    match (*base, data) {
        (ERRNO | TRACE, Some(data)) if data > most => {
            Err(Error::invalid(format!("errnoRet: {data} is more than {most}")))
        }
        (ERRNO | TRACE, data) => Ok(base | data.unwrap_or(EPERM)),
        (_, Some(_)) => Err(Error::invalid(format!(
            "errnoRet: cannot be given with action {name}; SCMP_ACT_ERRNO and SCMP_ACT_TRACE return one"
        ))),
        (_, None) => Ok(*base),
    }
}

/// The comparisons of a rule as a list of alternatives, each a list of comparisons that must all hold.
pub(super) fn alternatives(args: &[SyscallArg]) -> Result<Vec<Leaf>> {
    let mut comparisons = Vec::with_capacity(args.len());
    for (index, arg) in args.iter().enumerate() {
        comparisons.push(Comparison::from_spec(arg).map_err(|e| e.prefixed(format!("args[{index}]")))?);
    }
    let mut seen = 0u8;
    let repeated = comparisons.iter().any(|c| {
        let bit = 1 << c.index;
        let before = seen & bit != 0;
        seen |= bit;
        before
    });
    Ok(if repeated { comparisons.into_iter().map(|c| vec![c]).collect() } else { vec![comparisons] })
}
