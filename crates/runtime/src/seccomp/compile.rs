//! Rules to classic BPF.
//!
//! ```text
//! arch ─┬─► x86_64, x32: one binary search over all 2^32 numbers ─┬─► plain verdict
//!       ├─► x86: another                                          └─► comparisons, in the order given
//!       └─► unlisted: killed
//! ```
//! The program is built from its end, so that every jump's target exists when the jump is made, and equal returns
//! within reach are shared.

use std::collections::BTreeMap;

use oci::{Error, Result};
use sys::seccomp::Instruction;

use super::policy::{Comparison, Leaf, Op};
use super::table::{Arch, Numbers};

/// Return values that belong to the whole policy.
pub(super) struct Policy {
    /// For calls that no rule matches.
    pub(super) default: u32,
    /// For numbers above the last one that the rules name, where that is not the default.
    pub(super) beyond: Option<u32>,
    /// For architectures that are not listed.
    pub(super) bad_arch: u32,
}

/// The longest program that the kernel takes.
pub(super) const MAX_PROGRAM: usize = 4096;

/// More conditions than this in one architecture cannot fit a program: each takes two instructions at least.
const MAX_CONDITIONS: usize = MAX_PROGRAM / 2;

/// The rules of one architecture.
pub(super) struct RuleSet {
    arch: Arch,
    calls: BTreeMap<u32, Call>,
    /// The highest number that any rule names, whatever it says about it.
    last: Option<u32>,
    conditions: usize,
}

#[derive(Default)]
struct Call {
    /// An unconditional rule: it outdoes all conditional ones, before or after it.
    always: Option<u32>,
    /// The first that holds decides.
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

/// The multiplexer's number and the sub-function of a call of 32-bit x86.
pub(super) fn multiplexed(name: &str) -> Option<(u32, u64)> {
    let (_, multiplexer, function) = MULTIPLEXED.iter().find(|m| m.0 == name)?;
    Some((super::table::lookup(multiplexer)?.on(Arch::X86)?, *function))
}

impl RuleSet {
    pub(super) fn new(arch: Arch) -> Self {
        Self { arch, calls: BTreeMap::new(), last: None, conditions: 0 }
    }

    /// Adds one rule for one call. A rule that says what the default says only counts for the last number.
    pub(super) fn add(
        &mut self,
        name: &str,
        numbers: Numbers,
        action: u32,
        alternatives: &[Leaf],
        default: u32,
    ) -> Result<()> {
        let number = numbers.on(self.arch);
        let multiplexed = if self.arch == Arch::X86 { multiplexed(name) } else { None };
        // libseccomp has no number of their own for these, so runc does not see them when it looks for the last one.
        if multiplexed.is_none() {
            self.last = self.last.max(number);
        }
        if action == default {
            return Ok(());
        }
        if let Some(number) = number {
            self.put(number, action, alternatives)?;
        }
        // Through the multiplexer the arguments are behind a pointer, where no filter can look. libseccomp puts the
        // sub-function in the place of the first argument's condition and leaves the others as they are; without the
        // same, old 32-bit programs could not open a socket where runc lets them, or could where it does not.
        if let Some((number, function)) = multiplexed {
            let chosen = Comparison { index: 0, op: Op::Equal, value: function, mask: u64::MAX };
            for leaf in alternatives {
                let others = leaf.iter().filter(|c| c.index != 0).cloned();
                self.put(number, action, &[std::iter::once(chosen.clone()).chain(others).collect()])?;
            }
        }
        Ok(())
    }

    fn put(&mut self, number: u32, action: u32, alternatives: &[Leaf]) -> Result<()> {
        let call = self.calls.entry(number).or_default();
        for leaf in alternatives {
            if call.always.is_some() {
                break;
            }
            if leaf.is_empty() {
                call.always = Some(action);
                self.conditions -= call.conditional.len();
                call.conditional = Vec::new();
            } else if !call.conditional.iter().any(|(other, _)| other == leaf) {
                self.conditions += 1;
                if self.conditions > MAX_CONDITIONS {
                    return Err(Error::exhausted(format!(
                        "more than {MAX_CONDITIONS} conditions cannot fit the kernel's {MAX_PROGRAM} instructions"
                    )));
                }
                call.conditional.push((leaf.clone(), action));
            }
        }
        Ok(())
    }

    /// The last number, where numbers above it get an answer of their own. A policy that names no call but number 0
    /// does not say which kernel it was written for; runc leaves it alone too.
    fn last_for(&self, policy: &Policy) -> Option<(u32, u32)> {
        Some((self.last.filter(|n| *n > 0)?, policy.beyond?))
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

/// The value of `seccomp_data.arch`; x32 shares x86_64's.
pub(super) fn audit(arch: Arch) -> u32 {
    match arch {
        Arch::X86_64 | Arch::X32 => 0xc000_003e,
        Arch::X86 => 0x4000_0003,
        Arch::Aarch64 => 0xc000_00b7,
        Arch::Arm => 0x4000_0028,
    }
}

/// The whole program.
pub(super) fn program(policy: &Policy, sets: &[RuleSet]) -> Vec<Instruction> {
    let mut code = Code::default();
    let x32 = sets.iter().find(|s| s.arch == Arch::X32);
    let mut blocks = Vec::new();
    for set in sets.iter().filter(|s| s.arch != Arch::X32).rev() {
        let ranges = if set.arch == Arch::X86_64 { x86_64_ranges(policy, set, x32) } else { plain_ranges(policy, set) };
        let search = search(&mut code, policy, &ranges);
        blocks.push((audit(set.arch), code.load(NR, search)));
    }
    // The native architecture is tested first.
    let mut next = Target::Return(policy.bad_arch);
    for (arch, block) in blocks {
        next = code.jump(JEQ, arch, block, next);
    }
    let entry = code.load(ARCH, next);
    code.finish(entry)
}

/// What a range of numbers gives.
#[derive(Clone, Copy)]
enum Verdict<'a> {
    Plain(u32),
    Call(&'a Call, Arch),
}

/// The first number of each range, ascending from 0; the last one has no end.
type Ranges<'a> = Vec<(u32, Verdict<'a>)>;

fn plain_ranges<'a>(policy: &Policy, set: &'a RuleSet) -> Ranges<'a> {
    let mut ranges = Vec::new();
    append(&mut ranges, policy, 0, set);
    ranges
}

/// x86_64 and x32 are told apart by one bit of the number only.
fn x86_64_ranges<'a>(policy: &Policy, set: &'a RuleSet, x32: Option<&'a RuleSet>) -> Ranges<'a> {
    let mut ranges = Vec::new();
    append(&mut ranges, policy, 0, set);
    match x32 {
        Some(x32) => append(&mut ranges, policy, X32_BIT, x32),
        None => push(&mut ranges, X32_BIT, Verdict::Plain(policy.bad_arch)),
    }
    // No kernel has calls with the highest bit set, but the verdict on them is runc's as well: what it does about
    // numbers above the last one looks at the x32 bit, what libseccomp does about architectures compares numbers.
    let unlisted = if x32.is_some() { policy.default } else { policy.bad_arch };
    let beyond = |set: Option<&RuleSet>| set.and_then(|s| s.last_for(policy)).map_or(unlisted, |(_, beyond)| beyond);
    push(&mut ranges, 2 * X32_BIT, Verdict::Plain(beyond(Some(set))));
    push(&mut ranges, 3 * X32_BIT, Verdict::Plain(beyond(x32)));
    if x32.is_none() {
        // How a tracer says "skip this call": no call of an unlisted architecture.
        push(&mut ranges, u32::MAX, Verdict::Plain(policy.default));
    }
    ranges
}

/// Appends the ranges of one architecture whose numbers begin with `start`.
fn append<'a>(ranges: &mut Ranges<'a>, policy: &Policy, start: u32, set: &'a RuleSet) {
    let last = set.last_for(policy);
    push(ranges, start, Verdict::Plain(policy.default));
    for (number, call) in &set.calls {
        if last.is_some_and(|(last, _)| *number > last) {
            break;
        }
        let verdict = call.always.map_or(Verdict::Call(call, set.arch), Verdict::Plain);
        push(ranges, *number, verdict);
        push(ranges, number + 1, Verdict::Plain(policy.default));
    }
    if let Some((last, beyond)) = last {
        push(ranges, last + 1, Verdict::Plain(beyond));
    }
}

/// Neighbours with the same plain action are one range; a range replaces one that begins at the same number.
fn push<'a>(ranges: &mut Ranges<'a>, start: u32, verdict: Verdict<'a>) {
    if ranges.last().is_some_and(|(other, _)| *other == start) {
        ranges.pop();
    }
    if let (Some((_, Verdict::Plain(a))), Verdict::Plain(b)) = (ranges.last(), verdict)
        && *a == b
    {
        return;
    }
    ranges.push((start, verdict));
}

/// Binary search; the number is in the accumulator.
fn search(code: &mut Code, policy: &Policy, ranges: &[(u32, Verdict<'_>)]) -> Target {
    match ranges {
        [] => Target::Return(policy.default),
        [(_, Verdict::Plain(action))] => Target::Return(*action),
        [(_, Verdict::Call(call, arch))] => comparisons(code, policy, *arch, call),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let upper = search(code, policy, high);
            let lower = search(code, policy, low);
            code.jump(JGE, high[0].0, upper, lower)
        }
    }
}

/// The rules of one call, tried in order.
fn comparisons(code: &mut Code, policy: &Policy, arch: Arch, call: &Call) -> Target {
    let mut next = Target::Return(policy.default);
    for (leaf, action) in call.conditional.iter().rev() {
        let mut holds = Target::Return(*action);
        for comparison in leaf.iter().rev() {
            holds = compare(code, arch, comparison, holds, next);
        }
        next = holds;
    }
    next
}

/// One comparison.
fn compare(code: &mut Code, arch: Arch, c: &Comparison, yes: Target, no: Target) -> Target {
    let half = |shift: u32| ((c.value >> shift) as u32, (c.mask >> shift) as u32, ARGS + 8 * c.index + shift / 8);
    let (value, mask, offset) = half(0);
    let low = match c.op {
        // Nothing of this half is looked at.
        Op::Equal if mask == 0 => yes,
        op => {
            let test = match op {
                Op::Equal => code.jump(JEQ, value, yes, no),
                Op::NotEqual => code.jump(JEQ, value, no, yes),
                Op::Less => code.jump(JGE, value, no, yes),
                Op::LessEqual => code.jump(JGT, value, no, yes),
                Op::Greater => code.jump(JGT, value, yes, no),
                Op::GreaterEqual => code.jump(JGE, value, yes, no),
            };
            code.masked(offset, mask, test)
        }
    };
    // On a 32-bit architecture arguments have no upper half.
    if matches!(arch, Arch::X86 | Arch::X32 | Arch::Arm) {
        return low;
    }
    let (value, mask, offset) = half(32);
    let test = match c.op {
        Op::Equal if mask == 0 => return low,
        Op::Equal => code.jump(JEQ, value, low, no),
        Op::NotEqual => code.jump(JEQ, value, low, yes),
        Op::Less | Op::LessEqual => {
            let equal = code.jump(JEQ, value, low, yes);
            code.jump(JGT, value, no, equal)
        }
        Op::Greater | Op::GreaterEqual => {
            let equal = code.jump(JEQ, value, low, no);
            code.jump(JGT, value, yes, equal)
        }
    };
    code.masked(offset, mask, test)
}

/// Where a jump goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// Any return with this value.
    Return(u32),
    /// The instruction with this distance from the end.
    At(usize),
}

/// A program, its last instruction first.
#[derive(Default)]
struct Code {
    reversed: Vec<Instruction>,
    /// The latest return of each value.
    returns: BTreeMap<u32, usize>,
}

impl Code {
    fn emit(&mut self, code: u16, k: u32, jump_true: u8, jump_false: u8) -> usize {
        self.reversed.push(Instruction { code, jump_true, jump_false, k });
        self.reversed.len() - 1
    }

    /// An instruction that a jump put `later` instructions before the present ones can reach.
    fn reachable(&mut self, target: Target, later: usize) -> usize {
        let reach = |at: usize, length: usize| length + later - at <= 256;
        match target {
            Target::Return(value) => match self.returns.get(&value) {
                Some(at) if reach(*at, self.reversed.len()) => *at,
                _ => {
                    let at = self.emit(RETURN, value, 0, 0);
                    self.returns.insert(value, at);
                    at
                }
            },
            Target::At(at) if reach(at, self.reversed.len()) => at,
            // Conditional jumps reach 255 instructions, unconditional ones any number.
            Target::At(at) => self.emit(JUMP, (self.reversed.len() - at - 1) as u32, 0, 0),
        }
    }

    fn jump(&mut self, code: u16, k: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        // The second may have to be brought into reach too, which puts one instruction more in front of the first.
        let yes = self.reachable(yes, 1);
        let no = self.reachable(no, 0);
        let length = self.reversed.len();
        Target::At(self.emit(code, k, (length - yes - 1) as u8, (length - no - 1) as u8))
    }

    /// A load in front of an instruction that needs it; nothing in front of a return.
    fn load(&mut self, offset: u32, next: Target) -> Target {
        self.masked(offset, u32::MAX, next)
    }

    fn masked(&mut self, offset: u32, mask: u32, next: Target) -> Target {
        let Target::At(at) = next else { return next };
        if at + 1 != self.reversed.len() {
            self.emit(JUMP, (self.reversed.len() - at - 1) as u32, 0, 0);
        }
        if mask != u32::MAX {
            self.emit(AND, mask, 0, 0);
        }
        Target::At(self.emit(LOAD, offset, 0, 0))
    }

    fn finish(mut self, entry: Target) -> Vec<Instruction> {
        let at = match entry {
            Target::Return(value) => self.emit(RETURN, value, 0, 0),
            Target::At(at) => at,
        };
        // What was emitted later belongs to nothing that runs.
        self.reversed.truncate(at + 1);
        self.reversed.reverse();
        self.reversed
    }
}
