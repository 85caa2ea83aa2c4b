//! `linux.seccomp` to a filter program.
//!
//! ```text
//! rules ──policy──► actions and comparisons as the kernel has them
//!       ──compile─► per architecture: ranges of numbers, each a plain verdict or comparisons ──► classic BPF
//! ```
//!
//! Two decisions follow runc, because images depend on them: a number above the last one that the policy names gives
//! `ENOSYS` and not the default action, so that newer C libraries fall back; and several comparisons of one argument
//! in one rule are alternatives.
//!
//! With `SCMP_ACT_NOTIFY` the kernel hands out a descriptor when the filter is put on; [`listener`] takes it to the
//! policy's listener.

mod compile;
pub(crate) mod fuzzing;
mod listener;
mod policy;
pub(crate) mod table;

use std::os::fd::AsFd;
use std::path::PathBuf;

use oci::runtime::{Seccomp, SeccompFeatures};
use oci::{Context, Error, Result};
use sys::seccomp::{Instruction, NEW_LISTENER};

use compile::{MAX_PROGRAM, Policy, RuleSet};
pub(crate) use listener::Listener;
use policy::{ALLOW, ENOSYS, ERRNO, KILL_THREAD, LOG, NOTIFY, TRACE, names};
use table::Arch;

use crate::channel::Channel;

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Flags for `seccomp(2)`.
    pub(crate) flags: u64,
    /// The program.
    pub(crate) program: Vec<Instruction>,
    /// Who gets the notification descriptor; present exactly when a rule says `SCMP_ACT_NOTIFY`.
    pub(crate) listener: Option<Listener>,
}

/// What `features` says of filters.
pub(crate) fn features() -> SeccompFeatures {
    let list = |names: &mut dyn Iterator<Item = &&str>| names.map(|s| (*s).to_owned()).collect::<Vec<_>>();
    SeccompFeatures {
        enabled: Some(true),
        actions: list(&mut policy::ACTIONS.iter().map(|a| &a.0)),
        operators: list(&mut policy::OPERATORS.iter()),
        archs: list(&mut policy::ARCHES.iter().map(|a| &a.0)),
        known_flags: list(&mut policy::FLAGS.iter().map(|f| &f.0)),
        supported_flags: list(&mut policy::FLAGS.iter().filter(|f| sys::seccomp::flag_supported(f.1)).map(|f| &f.0)),
    }
}

#[cfg(target_arch = "x86_64")]
const NATIVE: Arch = Arch::X86_64;
#[cfg(target_arch = "aarch64")]
const NATIVE: Arch = Arch::Aarch64;

impl Filter {
    /// Checks a policy and compiles it. One that says nothing at all is none.
    pub(crate) fn compile(spec: &Seccomp) -> Result<Option<Self>> {
        if spec.default_action.is_empty() && spec.syscalls.is_empty() {
            return Ok(None);
        }
        Self::compile_for(spec, NATIVE).map(Some).map_err(|e| e.prefixed("linux.seccomp"))
    }

    fn compile_for(spec: &Seccomp, native: Arch) -> Result<Self> {
        let mut arches = vec![native];
        for name in &spec.architectures {
            match policy::ARCHES.iter().find(|a| a.0 == name) {
                Some((_, Some(arch))) if !arches.contains(arch) => arches.push(*arch),
                Some(_) => {}
                None => {
                    return Err(Error::invalid(format!(
                        "architectures: string {name} is not a valid arch for seccomp; known are {}",
                        names(&policy::ARCHES)
                    )));
                }
            }
        }
        let default =
            policy::action(&spec.default_action, spec.default_errno_ret).map_err(|e| e.prefixed("defaultAction"))?;
        if default == NOTIFY {
            return Err(Error::invalid("defaultAction: SCMP_ACT_NOTIFY cannot be used as default action"));
        }
        let mut sets: Vec<RuleSet> = arches.iter().map(|arch| RuleSet::new(*arch)).collect();
        let mut notifies = false;
        for (index, rule) in spec.syscalls.iter().enumerate() {
            let at = |e: Error| e.prefixed(format!("syscalls[{index}]"));
            let verdict = policy::action(&rule.action, rule.errno_ret).map_err(at)?;
            let alternatives = policy::alternatives(&rule.args).map_err(at)?;
            notifies |= verdict == NOTIFY && !rule.names.is_empty();
            for name in &rule.names {
                if name.is_empty() {
                    return Err(at(Error::invalid("names: empty string is not a valid syscall")));
                }
                // The process tells the runtime of the descriptor by a write, which would wait for the listener that
                // nobody could tell yet.
                if verdict == NOTIFY && name == "write" {
                    return Err(at(Error::invalid("SCMP_ACT_NOTIFY cannot be used for the write syscall")));
                }
                // Names that this table does not know are skipped, as the specification asks: policies name the calls
                // of every kernel and machine.
                let Some(numbers) = table::lookup(name) else { continue };
                for set in &mut sets {
                    set.add(name, numbers, verdict, &alternatives, default).map_err(at)?;
                }
            }
        }
        let listener = if notifies { Some(Listener::from_spec(spec)?) } else { None };
        let flags = flags(spec.flags.as_deref(), notifies)?;
        // A tracer may know calls that the policy does not, so tracing counts as permission here.
        let lenient = matches!(default & 0xffff_0000, ALLOW | LOG | TRACE);
        let beyond = (!lenient).then_some(ERRNO | ENOSYS);
        let program = compile::program(&Policy { default, beyond, bad_arch: KILL_THREAD }, &sets);
        if program.len() > MAX_PROGRAM {
            return Err(Error::exhausted(format!(
                "the policy compiles to {} instructions, the kernel takes {MAX_PROGRAM}",
                program.len()
            )));
        }
        Ok(Self { flags, program, listener })
    }

    /// The filter as a file of the state directory, little-endian: flags, lengths of the listener's path and metadata
    /// (all ones where there is none), those two, instructions.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let path = self.listener.as_ref().map(|l| l.path.as_os_str().as_encoded_bytes());
        let metadata = self.listener.as_ref().and_then(|l| l.metadata.as_deref()).map(str::as_bytes);
        let mut bytes = Vec::with_capacity(16 + self.program.len() * 8);
        bytes.extend_from_slice(&self.flags.to_le_bytes());
        for text in [path, metadata] {
            let length = text.map_or(u32::MAX, |t| t.len() as u32);
            bytes.extend_from_slice(&length.to_le_bytes());
        }
        [path, metadata].into_iter().flatten().for_each(|text| bytes.extend_from_slice(text));
        for i in &self.program {
            bytes.extend_from_slice(&i.code.to_le_bytes());
            bytes.extend_from_slice(&[i.jump_true, i.jump_false]);
            bytes.extend_from_slice(&i.k.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Filter::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes).ok_or_else(|| Error::corrupt("the stored seccomp filter is damaged"))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (flags, rest) = bytes.split_first_chunk::<8>()?;
        let (path_length, rest) = rest.split_first_chunk::<4>()?;
        let (metadata_length, mut rest) = rest.split_first_chunk::<4>()?;
        let mut text = |length: &[u8; 4]| match u32::from_le_bytes(*length) {
            u32::MAX => Some(None),
            length => {
                let (text, behind) = rest.split_at_checked(length as usize)?;
                rest = behind;
                Some(Some(text))
            }
        };
        let (path, metadata) = (text(path_length)?, text(metadata_length)?);
        let listener = match path {
            None => None,
            Some(path) => Some(Listener {
                path: PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path)),
                metadata: metadata.map(|m| String::from_utf8(m.to_vec())).transpose().ok()?,
            }),
        };
        if !rest.len().is_multiple_of(8) {
            return None;
        }
        let program = instructions(rest);
        Some(Self { flags: u64::from_le_bytes(*flags), program, listener })
    }

    /// Puts the filter on this process. With a listener, waits until that one has been told.
    pub(crate) fn put_on(&self, channel: &Channel) -> Result<()> {
        crate::log::debug(format_args!("seccomp filter flags: {}", self.flags));
        let descriptor =
            sys::seccomp::install(&self.program, self.flags).context(|| "error loading seccomp filter into kernel")?;
        match descriptor {
            Some(descriptor) => channel.hand_over(descriptor.as_fd()),
            None => Ok(()),
        }
    }
}

/// Instructions from their stored form.
pub(crate) fn instructions(bytes: &[u8]) -> Vec<Instruction> {
    let (chunks, _) = bytes.as_chunks::<8>();
    let one = |&[a, b, jump_true, jump_false, w, x, y, z]: &[u8; 8]| Instruction {
        code: u16::from_le_bytes([a, b]),
        jump_true,
        jump_false,
        k: u32::from_le_bytes([w, x, y, z]),
    };
    chunks.iter().map(one).collect()
}

/// The flags for `seccomp(2)`. As with runc, a policy that does not speak of flags leaves the speculative store bypass
/// alone, and an empty list means none.
fn flags(wanted: Option<&[String]>, notifies: bool) -> Result<u64> {
    let mut flags = if notifies { NEW_LISTENER } else { 0 };
    let Some(wanted) = wanted else { return Ok(flags | policy::FLAG_SPEC_ALLOW) };
    for name in wanted {
        match policy::FLAGS.iter().find(|f| f.0 == name) {
            // There is one thread, so synchronising is already done; and the flag changes what failure looks like.
            Some((_, policy::FLAG_TSYNC)) => {}
            Some((_, policy::FLAG_WAIT_KILLABLE)) if !notifies => {
                return Err(Error::invalid(format!("flags: {name} needs a rule with SCMP_ACT_NOTIFY")));
            }
            Some((_, bit)) => flags |= bit,
            None => {
                return Err(Error::unsupported(format!(
                    "flags: seccomp flag {name} is not known; known are {}",
                    names(&policy::FLAGS)
                )));
            }
        }
    }
    Ok(flags)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod oracle;
#[cfg(test)]
mod tests;
