//! Device access rules: a list of rules, each overriding those before it, to one default with exceptions.
//!
//! v1 takes exactly that form (`devices.deny` "a", then lines of `devices.allow`); v2 takes a program made of it.

use std::fmt;

use oci::runtime::DeviceRule;
use oci::{Error, Kind, Result};
use sys::bpf::Instruction;

/// Lets rules stay unset that a user had no right to set. Every other failure, and everyone else's, counts: the
/// container would have devices that it was not to have.
pub(super) fn unless_a_user(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == Kind::PermissionDenied && crate::rootless::does_without_device_rules() => {
            crate::log::debug(format_args!("the device rules stay unset: {error}"));
            Ok(())
        }
        result => result,
    }
}

/// What is allowed in the end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DeviceRules {
    pub(crate) allow_by_default: bool,
    /// What differs from the default.
    pub(crate) exceptions: Vec<Exception>,
}

/// Devices and the access to them that differs from the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exception {
    pub(super) block: bool,
    /// `None` is all.
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    /// [`READ`], [`WRITE`], [`MKNOD`].
    access: u8,
}

impl Exception {
    /// Reads the kernel's form, `c 1:3 rwm`.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let block = match words.next()? {
            "b" => true,
            "c" => false,
            _ => return None,
        };
        let (major, minor) = words.next()?.split_once(':')?;
        let number = |n: &str| if n == "*" { Some(None) } else { n.parse().ok().map(Some) };
        let access = words.next()?.chars().fold(0, |bits, letter| match letter {
            'r' => bits | READ,
            'w' => bits | WRITE,
            'm' => bits | MKNOD,
            _ => bits,
        });
        Some(Self { block, major: number(major)?, minor: number(minor)?, access })
    }
}

/// As the kernel passes them to a program.
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        write!(f, "{} {}:{} ", if self.block { 'b' } else { 'c' }, number(self.major), number(self.minor))?;
        f.write_str(&self.letters())
    }
}

impl Exception {
    /// The access, in the letters of a configuration.
    pub(super) fn letters(&self) -> String {
        let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
        letters.into_iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| letter).collect()
    }
}

/// What every container may use, whatever its configuration says: the nodes that the specification demands, terminals,
/// making (not opening) nodes of any kind, and tun, which VPNs in containers make themselves: runc 1.2.0 took it away
/// and had to give it back.
const ALWAYS: [(bool, Option<u32>, Option<u32>, u8); 11] = [
    (false, None, None, MKNOD),
    (true, None, None, MKNOD),
    (false, Some(1), Some(3), ALL),    // null
    (false, Some(1), Some(8), ALL),    // random
    (false, Some(1), Some(7), ALL),    // full
    (false, Some(5), Some(0), ALL),    // tty
    (false, Some(1), Some(5), ALL),    // zero
    (false, Some(1), Some(9), ALL),    // urandom
    (false, Some(136), None, ALL),     // pseudo-terminals
    (false, Some(5), Some(2), ALL),    // ptmx
    (false, Some(10), Some(200), ALL), // net/tun
];

impl DeviceRules {
    /// The configuration's rules, in order, and then [`ALWAYS`].
    pub(crate) fn for_container(rules: &[DeviceRule]) -> Result<Self> {
        let mut result = Self { allow_by_default: false, exceptions: Vec::new() };
        for (index, rule) in rules.iter().enumerate() {
            result.apply(rule).map_err(|e| e.prefixed(format!("linux.resources.devices[{index}]")))?;
        }
        for (block, major, minor, access) in ALWAYS {
            // Fails only where the configuration denies a wider range: then that is what was wanted.
            let _ = result.add(true, Exception { block, major, minor, access });
        }
        Ok(result)
    }

    fn apply(&mut self, rule: &DeviceRule) -> Result<()> {
        let mut access = 0;
        for letter in rule.access.as_deref().unwrap_or("rwm").chars() {
            access |= match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                // "All" in other tables of rules, and nothing here: runc reads on as well.
                'a' => 0,
                other => return Err(Error::invalid(format!("access {other:?} is none of r, w, m"))),
            };
        }
        if access == 0 {
            access = ALL;
        }
        let number = |n: Option<i64>| match n {
            None | Some(-1) => Ok(None),
            Some(n) => u32::try_from(n).map(Some).map_err(|_| Error::invalid(format!("number {n} is out of range"))),
        };
        let (major, minor) = (number(rule.major)?, number(rule.minor)?);
        let kinds: &[bool] = match rule.kind.as_deref() {
            None | Some("" | "a") => {
                if major.is_some() || minor.is_some() || access != ALL {
                    // The kernel ignores all but the type here, which would silently do more than was asked.
                    return Err(Error::invalid("a rule for all types cannot have numbers or a partial access"));
                }
                self.allow_by_default = rule.allow;
                self.exceptions.clear();
                return Ok(());
            }
            Some("c" | "u") => &[false],
            Some("b") => &[true],
            Some(other) => return Err(Error::invalid(format!("unknown type {other:?}; known are a, b, c"))),
        };
        for block in kinds {
            self.add(rule.allow, Exception { block: *block, major, minor, access })?;
        }
        Ok(())
    }

    /// A later rule overrides an earlier one where both speak of the same devices.
    fn add(&mut self, allow: bool, new: Exception) -> Result<()> {
        if allow == self.allow_by_default {
            let wider = |old: &&Exception| old.access & new.access != 0 && covers(old, &new) && !covers(&new, old);
            if let Some(old) = self.exceptions.iter().find(wider) {
                return Err(Error::unsupported(format!(
                    "\"{new}\" takes a part out of the earlier rule \"{old}\", which the kernel cannot express"
                )));
            }
            // Back to the default: whatever it covers is no longer an exception.
            for old in &mut self.exceptions {
                if covers(&new, old) {
                    old.access &= !new.access;
                }
            }
            self.exceptions.retain(|e| e.access != 0);
            return Ok(());
        }
        for old in &mut self.exceptions {
            if (old.block, old.major, old.minor) == (new.block, new.major, new.minor) {
                old.access |= new.access;
                return Ok(());
            }
        }
        if !self.exceptions.iter().any(|old| covers(old, &new) && old.access & new.access == new.access) {
            self.exceptions.push(new);
        }
        Ok(())
    }

    /// What a line of v1's `devices.list` allows too much: the line that takes it back.
    pub(crate) fn excess_of(&self, line: &str) -> Option<String> {
        let mut old = Exception::parse(line)?;
        let same = |e: &&Exception| (e.block, e.major, e.minor) == (old.block, old.major, old.minor);
        old.access &= !self.exceptions.iter().find(same).map_or(0, |e| e.access);
        (old.access != 0).then(|| old.to_string())
    }

    /// The rules as a program for a v2 cgroup. The kernel passes type and access in one word, then the numbers.
    pub(crate) fn program(&self) -> Vec<Instruction> {
        const R0: u8 = 0;
        const R1: u8 = 1;
        // Registers of what is compared.
        const TYPE: u8 = 2;
        const ACCESS: u8 = 3;
        const MAJOR: u8 = 4;
        const MINOR: u8 = 5;
        const LOAD_WORD: u8 = 0x61;
        const AND_IMM: u8 = 0x54;
        const SHIFT_RIGHT: u8 = 0x74;
        const MOVE_REG: u8 = 0xbc;
        const MOVE_IMM: u8 = 0xb4;
        const JUMP_EQ: u8 = 0x16;
        const JUMP_NE: u8 = 0x56;
        const JUMP_NE_REG: u8 = 0x5e;
        const EXIT: u8 = 0x95;
        let op = |code, destination: u8, source: u8, offset, immediate| Instruction {
            code,
            registers: source << 4 | destination,
            offset,
            immediate,
        };
        let finish = |allow: bool| [op(MOVE_IMM, R0, 0, 0, i32::from(allow)), op(EXIT, 0, 0, 0, 0)];
        let mut code = vec![
            op(LOAD_WORD, TYPE, R1, 0, 0),
            op(AND_IMM, TYPE, 0, 0, 0xffff),
            op(LOAD_WORD, ACCESS, R1, 0, 0),
            op(SHIFT_RIGHT, ACCESS, 0, 0, 16),
            op(LOAD_WORD, MAJOR, R1, 4, 0),
            op(LOAD_WORD, MINOR, R1, 8, 0),
        ];
        for e in &self.exceptions {
            // Tests, each of which leaves the block when it fails.
            let mut tests: Vec<Vec<Instruction>> = vec![vec![op(JUMP_NE, TYPE, 0, 0, if e.block { 1 } else { 2 })]];
            if e.access != ALL {
                let access = i32::from(e.access);
                tests.push(if self.allow_by_default {
                    // Denied when any denied access is asked for: nothing of it left means "go on".
                    vec![op(MOVE_REG, R1, ACCESS, 0, 0), op(AND_IMM, R1, 0, 0, access), op(JUMP_EQ, R1, 0, 0, 0)]
                } else {
                    // Allowed only when everything asked for is allowed.
                    vec![
                        op(MOVE_REG, R1, ACCESS, 0, 0),
                        op(AND_IMM, R1, 0, 0, access),
                        op(JUMP_NE_REG, R1, ACCESS, 0, 0),
                    ]
                });
            }
            if let Some(major) = e.major {
                tests.push(vec![op(JUMP_NE, MAJOR, 0, 0, major as i32)]);
            }
            if let Some(minor) = e.minor {
                tests.push(vec![op(JUMP_NE, MINOR, 0, 0, minor as i32)]);
            }
            let mut block = finish(!self.allow_by_default).to_vec();
            for mut test in tests.into_iter().rev() {
                if let Some(last) = test.last_mut() {
                    last.offset = block.len() as i16;
                }
                test.extend(block);
                block = test;
            }
            code.extend(block);
        }
        code.extend(finish(self.allow_by_default));
        code
    }
}

/// Whether every device of `inner` is one of `outer`.
fn covers(outer: &Exception, inner: &Exception) -> bool {
    let number = |o: Option<u32>, i: Option<u32>| o.is_none() || o == i;
    outer.block == inner.block && number(outer.major, inner.major) && number(outer.minor, inner.minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(allow: bool, kind: &str, major: i64, minor: i64, access: &str) -> DeviceRule {
        let number = |n: i64| (n >= 0).then_some(n);
        DeviceRule {
            allow,
            kind: Some(kind.into()),
            major: number(major),
            minor: number(minor),
            access: Some(access.into()),
        }
    }

    fn shown(rules: &[DeviceRule]) -> (bool, Vec<String>) {
        let r = DeviceRules::for_container(rules).expect("valid");
        (r.allow_by_default, r.exceptions.iter().map(ToString::to_string).collect())
    }

    /// Runs the program as the kernel would.
    fn allowed(rules: &DeviceRules, block: bool, access: u8, major: u32, minor: u32) -> bool {
        let context = [u32::from(access) << 16 | if block { 1 } else { 2 }, major, minor];
        let program = rules.program();
        let (mut r, mut pc) = ([0u64; 11], 0usize);
        loop {
            let i = &program[pc];
            pc += 1;
            let (d, s) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            let imm = u64::from(i.immediate as u32);
            match i.code {
                0x61 => r[d] = u64::from(context[i.offset as usize / 4]),
                0x54 => r[d] &= imm,
                0x74 => r[d] >>= imm,
                0xbc => r[d] = r[s],
                0xb4 => r[d] = imm,
                0x56 if r[d] != imm => pc += i.offset as usize,
                0x5e if r[d] != r[s] => pc += i.offset as usize,
                0x16 if r[d] == imm => pc += i.offset as usize,
                0x56 | 0x5e | 0x16 => {}
                0x95 => return r[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn docker_rules_shrink() {
        let (default, list) = shown(&[
            rule(false, "a", -1, -1, "rwm"),
            rule(true, "c", 1, 5, "rwm"),
            rule(true, "c", 1, 3, "rwm"),
            rule(true, "c", -1, -1, "m"),
            rule(true, "b", 8, 0, "r"),
        ]);
        assert!(!default);
        assert_eq!(list[..4], ["c 1:5 rwm", "c 1:3 rwm", "c *:* m", "b 8:0 r"]);
        assert_eq!(list.iter().filter(|l| *l == "c 1:3 rwm").count(), 1);
    }

    #[test]
    fn what_is_allowed_too_much_is_found() {
        let rules = DeviceRules::for_container(&[rule(true, "c", 10, 229, "r")]).expect("valid");
        assert_eq!(rules.excess_of("c 10:229 rw").as_deref(), Some("c 10:229 w"));
        assert_eq!(rules.excess_of("b 8:* rwm").as_deref(), Some("b 8:* rwm"));
        assert_eq!(rules.excess_of("c 1:3 rwm"), None);
        assert_eq!(rules.excess_of("c 10:229 r"), None);
    }

    #[test]
    fn later_rules_override_earlier_ones() {
        let (default, list) = shown(&[rule(true, "a", -1, -1, "rwm"), rule(false, "c", 10, 229, "rw")]);
        assert!(default);
        assert_eq!(list, ["c 10:229 rw"]);
        let (_, list) =
            shown(&[rule(false, "c", 10, 229, "rwm"), rule(true, "c", 10, 229, "r"), rule(false, "c", 10, -1, "r")]);
        assert!(!list.iter().any(|l| l.starts_with("c 10:229")));
    }

    #[test]
    fn the_program_says_what_the_rules_say() {
        let deny =
            DeviceRules::for_container(&[rule(true, "b", 8, -1, "r"), rule(true, "c", 10, 229, "rw")]).expect("valid");
        assert!(allowed(&deny, false, READ | WRITE, 1, 3));
        assert!(allowed(&deny, true, READ, 8, 17));
        assert!(!allowed(&deny, true, WRITE, 8, 17));
        assert!(!allowed(&deny, true, READ | WRITE, 8, 17));
        assert!(allowed(&deny, true, MKNOD, 99, 1));
        assert!(!allowed(&deny, true, READ, 99, 1));
        assert!(!allowed(&deny, false, READ, 10, 201));
        let allow =
            DeviceRules::for_container(&[rule(true, "a", -1, -1, "rwm"), rule(false, "b", 8, 0, "w")]).expect("valid");
        assert!(allowed(&allow, true, READ, 8, 0));
        assert!(!allowed(&allow, true, READ | WRITE, 8, 0));
        assert!(allowed(&allow, true, WRITE, 8, 1));
    }

    #[test]
    fn bad_rules_are_refused() {
        for bad in [rule(true, "x", 1, 1, "r"), rule(true, "c", 1, 1, "q"), rule(true, "a", 1, -1, "rwm")] {
            let error = DeviceRules::for_container(&[bad]).expect_err("refused").to_string();
            assert!(error.contains("linux.resources.devices[0]"), "{error}");
        }
    }
}
