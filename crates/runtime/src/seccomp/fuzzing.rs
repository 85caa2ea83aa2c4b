//! Arbitrary policies against a naive reading of them.

use oci::runtime::{Seccomp, SyscallArg, SyscallRule};
use sys::seccomp::Instruction;

use super::policy::{self, ENOSYS, ERRNO, KILL_THREAD};
use super::table::{Arch, Numbers, lookup};
use super::{Filter, NATIVE, compile};

/// Bytes as a policy: compiles it, checks the program as the kernel would, and compares its verdicts with the naive
/// reading's on every number that matters and arguments at the edges of the conditions.
pub fn seccomp(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let spec = bytes.policy();
    let Ok(Some(filter)) = Filter::compile(&spec) else { return };
    check_program(&filter.program);
    assert_eq!(Filter::from_bytes(&filter.to_bytes()).expect("reads back"), filter);
    assert!(Filter::from_bytes(bytes.0).is_err() || bytes.0.len() >= 16);
    let naive = Naive::new(&spec);
    let values = naive.values();
    for (audit, nr) in naive.numbers() {
        let rounds = if naive.conditional(audit, nr) { values.len().min(16) } else { 1 };
        for round in 0..rounds {
            let pick = |i: usize| values[(round * (2 * i + 1) + i * usize::from(bytes.peek())) % values.len()];
            let args = [pick(0), pick(1), pick(2), pick(3), pick(4), pick(5)];
            let (got, expected) = (run(&filter.program, audit, nr, args), naive.verdict(audit, nr, args));
            assert_eq!(got, expected, "{audit:#x} {nr:#x} {args:x?} of {spec:?}");
        }
    }
}

/// What the kernel's checker demands of a filter, and that it ends for every input.
pub(crate) fn check_program(program: &[Instruction]) {
    assert!((1..=compile::MAX_PROGRAM).contains(&program.len()), "{} instructions", program.len());
    for (at, i) in program.iter().enumerate() {
        let reach = |distance: usize| assert!(at + 1 + distance < program.len(), "{at}: jumps out of the program");
        match i.code {
            0x20 => assert!(i.k < 64 && i.k.is_multiple_of(4), "{at}: loads from {}", i.k),
            0x54 => {}
            0x05 => reach(i.k as usize),
            0x15 | 0x25 | 0x35 => {
                reach(i.jump_true.into());
                reach(i.jump_false.into());
            }
            0x06 => {}
            other => panic!("{at}: instruction {other:#x}"),
        }
    }
    assert_eq!(program.last().map(|i| i.code), Some(0x06), "the end is no return");
}

/// Runs a filter as the kernel would.
pub(crate) fn run(program: &[Instruction], arch: u32, nr: u32, args: [u64; 6]) -> u32 {
    let load = |offset: u32| match offset {
        0 => nr,
        4 => arch,
        8..16 => 0,
        _ => (args[(offset as usize - 16) / 8] >> (offset % 8 * 8)) as u32,
    };
    let (mut accumulator, mut pc) = (0u32, 0usize);
    loop {
        let i = &program[pc];
        pc += 1;
        let mut skip = |test: bool| pc += usize::from(if test { i.jump_true } else { i.jump_false });
        match i.code {
            0x20 => accumulator = load(i.k),
            0x54 => accumulator &= i.k,
            0x05 => pc += i.k as usize,
            0x15 => skip(accumulator == i.k),
            0x25 => skip(accumulator > i.k),
            0x35 => skip(accumulator >= i.k),
            0x45 => skip(accumulator & i.k != 0),
            0x06 => return i.k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

const X32_BIT: u32 = 0x4000_0000;

/// A policy, read rule by rule for each call.
pub(super) struct Naive<'a> {
    spec: &'a Seccomp,
    rules: Vec<NamedRule<'a>>,
    arches: Vec<Arch>,
    default: u32,
    lenient: bool,
}

/// One name of one rule.
struct NamedRule<'a> {
    numbers: Option<Numbers>,
    /// Multiplexer and sub-function on 32-bit x86.
    multiplexed: Option<(u32, u64)>,
    action: u32,
    args: &'a [SyscallArg],
}

impl<'a> Naive<'a> {
    pub(super) fn new(spec: &'a Seccomp) -> Self {
        let mut arches = vec![NATIVE];
        arches.extend(spec.architectures.iter().filter_map(|n| policy::ARCHES.iter().find(|a| a.0 == n)?.1));
        let rules = spec.syscalls.iter().flat_map(|rule| rule.names.iter().map(move |name| (name, rule)));
        Self {
            spec,
            rules: rules
                .map(|(name, rule)| NamedRule {
                    numbers: lookup(name),
                    multiplexed: compile::multiplexed(name),
                    action: policy::action(&rule.action, rule.errno_ret).expect("compiled"),
                    args: &rule.args,
                })
                .collect(),
            arches,
            default: policy::action(&spec.default_action, spec.default_errno_ret).expect("compiled"),
            lenient: ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"].contains(&spec.default_action.as_str()),
        }
    }

    fn last(&self, arch: Arch) -> Option<u32> {
        self.rules
            .iter()
            .filter(|rule| arch != Arch::X86 || rule.multiplexed.is_none())
            .filter_map(|rule| rule.numbers?.on(arch))
            .max()
            .filter(|n| *n > 0)
    }

    /// Which architecture's rules are for the call; whose last number counts.
    fn arch_of(&self, audit: u32, nr: u32) -> (Option<Arch>, Option<Arch>) {
        let listed = |arch: Arch| self.arches.contains(&arch).then_some(arch);
        match audit {
            0xc000_003e => {
                let x32 = |yes: bool| if yes { listed(Arch::X32) } else { listed(Arch::X86_64) };
                (x32(nr >= X32_BIT), x32(nr & X32_BIT != 0))
            }
            0x4000_0003 => (listed(Arch::X86), listed(Arch::X86)),
            0xc000_00b7 => (listed(Arch::Aarch64), listed(Arch::Aarch64)),
            0x4000_0028 => (listed(Arch::Arm), listed(Arch::Arm)),
            _ => (None, None),
        }
    }

    fn verdict(&self, audit: u32, nr: u32, args: [u64; 6]) -> u32 {
        let (arch, counting) = self.arch_of(audit, nr);
        if !self.lenient && counting.and_then(|a| self.last(a)).is_some_and(|last| nr > last) {
            return ERRNO | ENOSYS;
        }
        let Some(arch) = arch else {
            let skipped = audit == 0xc000_003e && nr == u32::MAX && self.arches.contains(&Arch::X86_64);
            return if skipped { self.default } else { KILL_THREAD };
        };
        let mut found = None;
        for rule in self.rules.iter().filter(|rule| rule.action != self.default) {
            let direct = rule.numbers.and_then(|n| n.on(arch)) == Some(nr);
            let inner = rule.multiplexed.filter(|(number, _)| arch == Arch::X86 && *number == nr);
            if direct && rule.args.is_empty() {
                return rule.action;
            }
            let holds = direct && any_or_all(arch, rule.args, args)
                || inner.is_some_and(|(_, function)| sub_function(rule.args, function, args));
            if holds && found.is_none() {
                // An unconditional rule may still come.
                found = Some(rule.action);
            }
        }
        found.unwrap_or(self.default)
    }

    /// Whether arguments can matter.
    fn conditional(&self, audit: u32, nr: u32) -> bool {
        let (Some(arch), _) = self.arch_of(audit, nr) else { return false };
        self.rules.iter().any(|rule| {
            !rule.args.is_empty() && rule.numbers.and_then(|n| n.on(arch)) == Some(nr)
                || arch == Arch::X86 && rule.multiplexed.is_some_and(|m| m.0 == nr)
        })
    }

    /// Numbers at the edges of the rules, on all architectures that there are.
    fn numbers(&self) -> Vec<(u32, u32)> {
        let mut all = Vec::new();
        for (arch, audit, bit) in [
            (Arch::X86_64, 0xc000_003e, 0),
            (Arch::X86, 0x4000_0003, 0),
            (Arch::X32, 0xc000_003e, X32_BIT),
            (Arch::Aarch64, 0xc000_00b7, 0),
            (Arch::Arm, 0x4000_0028, 0),
        ] {
            let named = self.rules.iter().filter_map(|rule| rule.numbers?.on(arch)).take(48);
            let edges = [0, 1, 102, 117, 500, 511, 512, 547, 548, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xbfff_ffff];
            for nr in named.chain(edges.map(|n| n | bit)).chain([0xc000_0000, 0xffff_fffe]) {
                all.extend([nr.wrapping_sub(1), nr, nr.wrapping_add(1)].map(|nr| (audit, nr)));
            }
        }
        all.push((0x1234, 0));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Values at the edges of the conditions.
    fn values(&self) -> Vec<u64> {
        let mut values = vec![0, 1, 5, 23, u64::from(u32::MAX), 1 << 32, u64::MAX];
        for arg in self.spec.syscalls.iter().flat_map(|r| &r.args).take(64) {
            for v in [arg.value, arg.value_two, arg.value & arg.value_two] {
                values.extend([v, v.wrapping_add(1), v.wrapping_sub(1), v ^ (1 << 32), !v]);
            }
        }
        values.sort_unstable();
        values.dedup();
        values
    }
}

/// Conditions of one rule on a multiplexer of 32-bit x86: its first argument is the sub-function.
fn sub_function(conditions: &[SyscallArg], function: u64, args: [u64; 6]) -> bool {
    let rest: Vec<SyscallArg> = conditions.iter().filter(|c| c.index != 0).cloned().collect();
    let twice = (0..6).any(|i| conditions.iter().filter(|c| c.index == i).count() > 1);
    args[0] as u32 == function as u32
        && if twice {
            // Each condition was a rule of its own, those on the first argument without any condition left.
            rest.len() < conditions.len() || rest.iter().any(|c| any_or_all(Arch::X86, std::slice::from_ref(c), args))
        } else {
            any_or_all(Arch::X86, &rest, args)
        }
}

/// Conditions of one rule: all must hold, or any when one argument is named twice.
fn any_or_all(arch: Arch, conditions: &[SyscallArg], args: [u64; 6]) -> bool {
    let width = if matches!(arch, Arch::X86 | Arch::X32 | Arch::Arm) { u64::from(u32::MAX) } else { u64::MAX };
    let holds = |c: &SyscallArg| {
        let (given, value, two) = (args[c.index as usize] & width, c.value & width, c.value_two & width);
        match c.op.as_str() {
            "SCMP_CMP_EQ" => given == value,
            "SCMP_CMP_NE" => given != value,
            "SCMP_CMP_LT" => given < value,
            "SCMP_CMP_LE" => given <= value,
            "SCMP_CMP_GT" => given > value,
            "SCMP_CMP_GE" => given >= value,
            _ => given & value == two & value,
        }
    };
    let twice = conditions.iter().enumerate().any(|(i, c)| conditions[..i].iter().any(|d| d.index == c.index));
    if twice { conditions.iter().any(holds) } else { conditions.iter().all(holds) }
}

/// A source of small choices; zeros at its end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn peek(&self) -> u8 {
        self.0.first().copied().unwrap_or(0)
    }

    fn next(&mut self) -> u8 {
        let byte = self.peek();
        self.0 = self.0.get(1..).unwrap_or(&[]);
        byte
    }

    fn word(&mut self) -> u64 {
        // Mostly values that code treats in a special way.
        const SPECIAL: [u64; 8] = [0, 1, 40, 0x7e02_0000, 0xffff_ffff, 1 << 32, 0x1_0000_0005, u64::MAX];
        match self.next() {
            byte @ 0..64 => SPECIAL[usize::from(byte % 8)],
            byte @ 64..128 => u64::from(byte),
            byte => (0..byte % 8 + 1).fold(0, |word, _| word << 8 | u64::from(self.next())),
        }
    }

    fn errno(&mut self) -> Option<u32> {
        match self.next() {
            0..160 => None,
            byte => Some(u32::from(byte) * 401 % 4200),
        }
    }

    fn action(&mut self) -> String {
        let index = usize::from(self.next() % 16);
        policy::ACTIONS.get(index).map_or("SCMP_ACT_ERRNO", |a| a.0).into()
    }

    fn name(&mut self) -> String {
        const FAVOURITES: [&str; 12] = [
            "read",
            "write",
            "socket",
            "socketcall",
            "ipc",
            "shmat",
            "accept",
            "clone",
            "set_tls",
            "mq_open",
            "no_such",
            "setxattrat",
        ];
        let (kind, index) = (self.next(), usize::from(self.next()));
        match kind {
            0..64 => FAVOURITES[index % FAVOURITES.len()].into(),
            kind => super::table::name_at(index + usize::from(kind & 1) * 256),
        }
    }

    fn policy(&mut self) -> Seccomp {
        let mut spec = Seccomp { default_action: self.action(), ..Default::default() };
        if spec.default_action == "SCMP_ACT_ERRNO" {
            spec.default_errno_ret = self.errno();
        }
        let arches = self.next();
        for (bit, (name, _)) in policy::ARCHES.iter().filter(|a| a.1.is_some() || a.0.ends_with("RISCV64")).enumerate()
        {
            if arches & 1 << bit != 0 {
                spec.architectures.push((*name).into());
            }
        }
        let flags = self.next();
        if flags & 0x10 != 0 {
            let chosen = policy::FLAGS.iter().enumerate().filter(|(i, _)| flags & 1 << i != 0);
            spec.flags = Some(chosen.map(|(_, f)| f.0.into()).collect());
        }
        if flags & 0x20 == 0 {
            spec.listener_path = Some("/run/agent.sock".into());
            spec.listener_metadata = (flags & 0x40 != 0).then(|| "zaż".into());
        }
        while !self.0.is_empty() && spec.syscalls.len() < 512 {
            let shape = self.next();
            let mut rule = SyscallRule { action: self.action(), ..Default::default() };
            if matches!(rule.action.as_str(), "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE") {
                rule.errno_ret = self.errno();
            }
            for _ in 0..shape % 8 {
                rule.names.push(self.name());
            }
            for _ in 0..[0, 0, 0, 1, 1, 2, 3, 6][usize::from(shape >> 5)] {
                rule.args.push(SyscallArg {
                    index: u32::from(self.next()) % 25 / 4,
                    op: policy::OPERATORS[usize::from(self.next()) % 7].into(),
                    value: self.word(),
                    value_two: self.word(),
                });
            }
            spec.syscalls.push(rule);
        }
        spec
    }
}
