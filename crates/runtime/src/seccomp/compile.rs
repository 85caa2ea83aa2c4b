//! Rules to classic BPF.

use std::collections::BTreeMap;

use oci::runtime::SyscallArg;
use oci::{Error, Result};
use sys::seccomp::Instruction;

use super::table::{Arch, Numbers};

/// Comparisons that must all hold; none means always.
pub(super) type Leaf = Vec<Comparison>;

/// One comparison of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) index: u32,
    op: Op,
    value: u64,
    mask: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Comparison {
    pub(super) fn from_spec(arg: &SyscallArg) -> Result<Self> {
        let (op, value, mask) = match arg.op.as_str() {
            "SCMP_CMP_EQ" => (Op::Equal, arg.value, u64::MAX),
            "SCMP_CMP_NE" => (Op::NotEqual, arg.value, u64::MAX),
            "SCMP_CMP_LT" => (Op::Less, arg.value, u64::MAX),
            "SCMP_CMP_LE" => (Op::LessEqual, arg.value, u64::MAX),
            "SCMP_CMP_GT" => (Op::Greater, arg.value, u64::MAX),
            "SCMP_CMP_GE" => (Op::GreaterEqual, arg.value, u64::MAX),
            "SCMP_CMP_MASKED_EQ" => (Op::Equal, arg.value_two & arg.value, arg.value),
            other => return Err(Error::invalid(format!("args: unknown op {other:?}"))),
        };
        Ok(Self { index: arg.index, op, value, mask })
    }
}

/// Return values that belong to the whole policy.
pub(super) struct Policy {
    /// For calls that no rule matches.
    pub(super) default: u32,
    /// For numbers above the last one named.
    pub(super) beyond: u32,
    /// For architectures that are not listed.
    pub(super) bad_arch: u32,
}

/// The rules of one architecture.
pub(super) struct RuleSet {
    arch: Arch,
    calls: BTreeMap<u32, Call>,
    /// The highest number that any rule names, whatever it says about it.
    last: Option<u32>,
}

#[derive(Default)]
struct Call {
    always: Option<u32>,
    /// In the order given; the first that holds decides.
    conditional: Vec<(Leaf, u32)>,
}

/// System calls that 32-bit x86 also has as sub-functions: name, multiplexer, sub-function (its first argument).
const MULTIPLEXED: [(&str, &str, u64); 32] = [
    ("socket", "socketcall", 1),
    ("bind", "socketcall", 2),
    ("connect", "socketcall", 3),
    ("listen", "socketcall", 4),
    ("accept", "socketcall", 5),
    ("getsockname", "socketcall", 6),
    ("getpeername", "socketcall", 7),
    ("socketpair", "socketcall", 8),
    ("send", "socketcall", 9),
    ("recv", "socketcall", 10),
    ("sendto", "socketcall", 11),
    ("recvfrom", "socketcall", 12),
    ("shutdown", "socketcall", 13),
    ("setsockopt", "socketcall", 14),
    ("getsockopt", "socketcall", 15),
    ("sendmsg", "socketcall", 16),
    ("recvmsg", "socketcall", 17),
    ("accept4", "socketcall", 18),
    ("recvmmsg", "socketcall", 19),
    ("sendmmsg", "socketcall", 20),
    ("semop", "ipc", 1),
    ("semget", "ipc", 2),
    ("semctl", "ipc", 3),
    ("semtimedop", "ipc", 4),
    ("msgsnd", "ipc", 11),
    ("msgrcv", "ipc", 12),
    ("msgget", "ipc", 13),
    ("msgctl", "ipc", 14),
    ("shmat", "ipc", 21),
    ("shmdt", "ipc", 22),
    ("shmget", "ipc", 23),
    ("shmctl", "ipc", 24),
];

impl RuleSet {
    pub(super) fn new(arch: Arch) -> Self {
        Self { arch, calls: BTreeMap::new(), last: None }
    }

    /// Adds one rule for one call. A rule that says what the default says only counts for [`RuleSet::last`].
    pub(super) fn add(&mut self, name: &str, numbers: Numbers, action: u32, alternatives: &[Leaf], default: u32) {
        let number = numbers.on(self.arch);
        self.last = self.last.max(number);
        if action == default {
            return;
        }
        if let Some(number) = number {
            self.put(number, action, alternatives);
        }
        // Through the multiplexer the arguments are behind a pointer, where no filter can look: the rule holds for the
        // sub-function as a whole, as libseccomp has it, or old 32-bit programs could not open a socket.
        if self.arch == Arch::X86
            && let Some((_, multiplexer, function)) = MULTIPLEXED.iter().find(|m| m.0 == name)
            && let Some(number) = super::table::lookup(multiplexer).and_then(|n| n.on(Arch::X86))
        {
            let chosen = Comparison { index: 0, op: Op::Equal, value: *function, mask: u64::MAX };
            self.put(number, action, &[vec![chosen]]);
        }
    }

    fn put(&mut self, number: u32, action: u32, alternatives: &[Leaf]) {
        // A multiplexer may lie above everything that was named itself.
        self.last = self.last.max(Some(number));
        let call = self.calls.entry(number).or_default();
        for leaf in alternatives {
            if leaf.is_empty() {
                call.always.get_or_insert(action);
            } else {
                call.conditional.push((leaf.clone(), action));
            }
        }
    }
}

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JEQ: u16 = 0x15;
const JGT: u16 = 0x25;
const JGE: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Offsets in the kernel's `struct seccomp_data`.
const NR: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

const X32_BIT: u32 = 0x4000_0000;

fn op(code: u16, k: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, k }
}

fn jump(code: u16, k: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, k }
}

/// The value of `seccomp_data.arch`; x32 shares x86_64's.
fn audit(arch: Arch) -> u32 {
    match arch {
        Arch::X86_64 | Arch::X32 => 0xc000_003e,
        Arch::X86 => 0x4000_0003,
        Arch::Aarch64 => 0xc000_00b7,
        Arch::Arm => 0x4000_0028,
    }
}

/// The whole program.
pub(super) fn program(policy: &Policy, sets: &[RuleSet]) -> Vec<Instruction> {
    let mut code = vec![op(LOAD, ARCH)];
    let find = |arch: Arch| sets.iter().find(|s| s.arch == arch);
    for set in sets.iter().filter(|s| s.arch != Arch::X32) {
        let mut body = vec![op(LOAD, NR)];
        if set.arch == Arch::X86_64 {
            let x32 = match find(Arch::X32) {
                Some(x32) => search(policy, x32),
                // A call of an architecture that is not listed; but -1 is how a tracer says "skip this one".
                None => vec![jump(JEQ, u32::MAX, 1, 0), op(RETURN, policy.bad_arch), op(RETURN, policy.default)],
            };
            body.extend(branch(JGE, X32_BIT, &x32));
            body.extend(x32);
        }
        body.extend(search(policy, set));
        code.extend(branch(JEQ, audit(set.arch), &body));
        code.extend(body);
    }
    // An x32 policy without x86_64 cannot be told from it by the architecture alone; x86_64 is always native then.
    code.push(op(RETURN, policy.bad_arch));
    code
}

/// A test that enters the block behind it when it holds, and jumps over the block when it does not.
fn branch(test: u16, k: u32, block: &[Instruction]) -> Vec<Instruction> {
    match u8::try_from(block.len()) {
        Ok(short) => vec![jump(test, k, 0, short)],
        // Conditional jumps reach 255 instructions, unconditional ones any number.
        Err(_) => vec![jump(test, k, 1, 0), op(JUMP, block.len() as u32)],
    }
}

/// What a range of numbers gives.
#[derive(Clone, Copy)]
enum Verdict<'a> {
    Plain(u32),
    Call(&'a Call),
}

/// Binary search over ranges of numbers; the number is in the accumulator.
fn search(policy: &Policy, set: &RuleSet) -> Vec<Instruction> {
    let mut ranges: Vec<(u32, Verdict<'_>)> = Vec::new();
    let ranges = &mut ranges;
    let mut next = 0;
    for (number, call) in &set.calls {
        if *number > next || next == 0 && *number != 0 {
            push(ranges, next, Verdict::Plain(policy.default));
        }
        match call {
            Call { always: Some(action), .. } => push(ranges, *number, Verdict::Plain(*action)),
            call => push(ranges, *number, Verdict::Call(call)),
        }
        next = number + 1;
    }
    match set.last {
        Some(last) => {
            if last >= next {
                push(ranges, next, Verdict::Plain(policy.default));
            }
            push(ranges, last + 1, Verdict::Plain(policy.beyond));
        }
        None => push(ranges, next, Verdict::Plain(policy.beyond)),
    }
    tree(policy, set.arch, ranges)
}

/// Neighbours with the same plain action are one range.
fn push<'a>(ranges: &mut Vec<(u32, Verdict<'a>)>, start: u32, verdict: Verdict<'a>) {
    if let (Some((_, Verdict::Plain(a))), Verdict::Plain(b)) = (ranges.last(), verdict)
        && *a == b
    {
        return;
    }
    ranges.push((start, verdict));
}

fn tree(policy: &Policy, arch: Arch, ranges: &[(u32, Verdict<'_>)]) -> Vec<Instruction> {
    match ranges {
        [] => vec![op(RETURN, policy.default)],
        [(_, Verdict::Plain(action))] => vec![op(RETURN, *action)],
        [(_, Verdict::Call(call))] => comparisons(policy, arch, call),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let upper = tree(policy, arch, high);
            let mut code = branch(JGE, high[0].0, &upper);
            code.extend(upper);
            code.extend(tree(policy, arch, low));
            code
        }
    }
}

/// The rules of one call, tried in order.
fn comparisons(policy: &Policy, arch: Arch, call: &Call) -> Vec<Instruction> {
    let mut code = Vec::new();
    for (leaf, action) in &call.conditional {
        // Built from the end, so that the distance to "does not hold" is known.
        let mut block = vec![op(RETURN, *action)];
        for comparison in leaf.iter().rev() {
            let mut test = compare(arch, comparison, block.len());
            test.extend(block);
            block = test;
        }
        code.extend(block);
    }
    code.push(op(RETURN, policy.default));
    code
}

/// One comparison; falls through when it holds, else jumps over the `rest` instructions that follow.
fn compare(arch: Arch, c: &Comparison, rest: usize) -> Vec<Instruction> {
    let low = op(LOAD, ARGS + 8 * c.index);
    let high = op(LOAD, ARGS + 8 * c.index + 4);
    let (value_low, value_high) = (c.value as u32, (c.value >> 32) as u32);
    let (mask_low, mask_high) = (c.mask as u32, (c.mask >> 32) as u32);
    // On a 32-bit architecture arguments have no upper half.
    let wide = !matches!(arch, Arch::X86 | Arch::X32 | Arch::Arm);
    let rest = rest as u8;
    let mut code = Vec::with_capacity(7);
    if wide {
        code.push(high);
        if mask_high != u32::MAX {
            code.push(op(AND, mask_high));
        }
        let low_length = if mask_low == u32::MAX { 2 } else { 3 };
        match c.op {
            Op::Equal => code.push(jump(JEQ, value_high, 0, low_length + rest)),
            Op::NotEqual => code.push(jump(JEQ, value_high, 0, low_length)),
            Op::Less | Op::LessEqual => {
                code.push(jump(JGT, value_high, 1 + low_length + rest, 0));
                code.push(jump(JEQ, value_high, 0, low_length));
            }
            Op::Greater | Op::GreaterEqual => {
                code.push(jump(JGT, value_high, 1 + low_length, 0));
                code.push(jump(JEQ, value_high, 0, low_length + rest));
            }
        }
    }
    code.push(low);
    if mask_low != u32::MAX {
        code.push(op(AND, mask_low));
    }
    code.push(match c.op {
        Op::Equal => jump(JEQ, value_low, 0, rest),
        Op::NotEqual => jump(JEQ, value_low, rest, 0),
        Op::Less => jump(JGE, value_low, rest, 0),
        Op::LessEqual => jump(JGT, value_low, rest, 0),
        Op::Greater => jump(JGT, value_low, 0, rest),
        Op::GreaterEqual => jump(JGE, value_low, 0, rest),
    });
    code
}
