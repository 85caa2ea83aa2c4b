//! nftables over netlink: one table per owner, changed in atomic batches.
//!
//! Every rule but the table's own few carries a comment (as `nft` shows it) that says which
//! network or container it is for, so that removing is exact and needs no memory.

mod expr;
mod rules;

pub(crate) use rules::{endpoint_rules, network_rules};

use crate::names;
use crate::netlink::message::{APPEND, CREATE, attrs, text};
use crate::netlink::{Body, Messages, Refusal, Socket};
use expr::{Expr, Verdict, encode};
use oci::{Context, Kind, Result};
use rustix::io::Errno;

const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEWTABLE: u16 = SUBSYSTEM;
const DELTABLE: u16 = SUBSYSTEM | 2;
const NEWCHAIN: u16 = SUBSYSTEM | 3;
const NEWRULE: u16 = SUBSYSTEM | 6;
const GETRULE: u16 = SUBSYSTEM | 7;
const DELRULE: u16 = SUBSYSTEM | 8;

const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;
/// libnftnl's `NFTNL_UDATA_RULE_COMMENT`.
const USERDATA_COMMENT: u8 = 0;
const NFPROTO_IPV4: u8 = 2;

/// A chain of the table, with its hook where it has one.
struct Chain {
    name: &'static str,
    hook: Option<(&'static str, u32, i32)>,
}

pub(crate) const GUARD: &str = "guard";
pub(crate) const PREROUTING: &str = "prerouting";
pub(crate) const OUTPUT: &str = "output";
pub(crate) const POSTROUTING: &str = "postrouting";
pub(crate) const FORWARD: &str = "forward";
pub(crate) const PORTS: &str = "ports";

/// Hook numbers: prerouting 0, forward 2, output 3, postrouting 4. Priorities: raw, dstnat,
/// filter, srcnat as `nft` names them.
const CHAINS: &[Chain] = &[
    Chain { name: GUARD, hook: Some(("filter", 0, -300)) },
    Chain { name: PREROUTING, hook: Some(("nat", 0, -100)) },
    Chain { name: OUTPUT, hook: Some(("nat", 3, -100)) },
    Chain { name: FORWARD, hook: Some(("filter", 2, 0)) },
    Chain { name: POSTROUTING, hook: Some(("nat", 4, 100)) },
    Chain { name: PORTS, hook: None },
];

/// The comment of the rules that every table has. Its number changes with them: those with another
/// are replaced.
const BASE: &str = "base:1";
/// The chains with such a rule.
const BASE_CHAINS: [&str; 2] = [PREROUTING, OUTPUT];

/// One rule to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) chain: &'static str,
    pub(crate) expressions: Vec<Expr>,
}

/// The rules for one network or endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuleSet {
    /// The comment of each of them.
    pub(crate) key: String,
    pub(crate) rules: Vec<Rule>,
}

/// A rule that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Present {
    chain: String,
    handle: u64,
    /// Its comment.
    pub(crate) key: String,
}

impl Present {
    fn is_base(&self) -> bool {
        self.key.starts_with("base:")
    }
}

/// The owner's table as it was read, and the way to change it.
pub(crate) struct Table {
    socket: Socket,
    name: String,
    present: Vec<Present>,
}

impl Table {
    /// Reads the owner's table, unless the kernel has no nftables, so that nothing can be in it.
    pub(crate) fn open_if_supported(owner: &str) -> Result<Option<Self>> {
        match Self::open(owner) {
            Err(error) if error.kind() == Kind::Unsupported => Ok(None),
            other => other.map(Some),
        }
    }

    /// Reads the owner's table.
    pub(crate) fn open(owner: &str) -> Result<Self> {
        let mut socket = Socket::netfilter().context(|| "nftables")?;
        let name = names::table(owner);
        let answers = socket.dump(GETRULE, |m| {
            m.raw(&nfgenmsg(NFPROTO_IPV4, 0));
            m.text(RULE_TABLE, &name);
        });
        let answers = match answers {
            Ok(answers) => answers,
            Err(refusal) if refusal.errno == Errno::NOENT => Vec::new(),
            Err(refusal) => return Err(refusal.about(&format!("list the rules of nftables table ip {name}"))),
        };
        let present =
            answers.iter().filter(|(kind, _)| *kind == NEWRULE).filter_map(|(_, b)| parse(b, &name)).collect();
        Ok(Self { socket, name, present })
    }

    /// The rules that are there, without the table's own.
    pub(crate) fn present(&self) -> impl Iterator<Item = &Present> {
        self.present.iter().filter(|rule| !rule.is_base())
    }

    /// Removes rules for which `stale` holds and adds `sets`, in one transaction. A set replaces
    /// rules with the same comment. Without anything to add, an absent table stays absent.
    pub(crate) fn change(&mut self, stale: impl Fn(&Present) -> bool, sets: &[RuleSet]) -> Result<usize> {
        let intact = self.present.iter().filter(|rule| rule.key == BASE).count() == BASE_CHAINS.len();
        let goes = |rule: &Present| {
            if rule.is_base() { !intact } else { stale(rule) || sets.iter().any(|set| set.key == rule.key) }
        };
        let doomed: Vec<Present> = self.present.iter().filter(|rule| goes(rule)).cloned().collect();
        let count = doomed.iter().filter(|rule| !rule.is_base()).count();
        if count == 0 && sets.is_empty() && (intact || self.present.is_empty()) {
            return Ok(0);
        }
        let mut batch = Batch::begin();
        for rule in &doomed {
            batch.delete(&self.name, rule);
        }
        if !intact {
            batch.base(&self.name);
        }
        for set in sets {
            for rule in &set.rules {
                batch.add(&self.name, rule, &set.key);
            }
        }
        self.commit(batch)?;
        Ok(count)
    }

    /// Removes the table with all that is in it.
    pub(crate) fn remove(&mut self) -> Result<()> {
        let mut batch = Batch::begin();
        batch.delete_table(&self.name);
        match self.transact(batch) {
            Err(refusal) if refusal.errno == Errno::NOENT => Ok(()),
            other => other.map_err(|refusal| refusal.about(&format!("remove nftables table ip {}", self.name))),
        }
    }

    fn commit(&mut self, batch: Batch) -> Result<()> {
        let what = format!("change nftables table ip {}", self.name);
        self.transact(batch).map_err(|refusal| {
            let missing = matches!(refusal.errno, Errno::NOENT | Errno::OPNOTSUPP);
            let error = refusal.about(&what);
            if missing {
                error.prefixed("the kernel may lack nf_tables, nft_nat, nft_masq or nft_fib_ipv4")
            } else {
                error
            }
        })
    }

    fn transact(&mut self, batch: Batch) -> Result<(), Refusal> {
        self.socket.transact(batch.end())
    }
}

/// A transaction in the making.
struct Batch {
    messages: Messages,
}

impl Batch {
    fn begin() -> Self {
        let mut messages = Messages::default();
        messages.push(BATCH_BEGIN, 0, |m| m.raw(&nfgenmsg(0, SUBSYSTEM >> 8)));
        Self { messages }
    }

    fn end(mut self) -> Messages {
        self.messages.push(BATCH_END, 0, |m| m.raw(&nfgenmsg(0, SUBSYSTEM >> 8)));
        self.messages
    }

    fn push(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Body<'_>)) {
        self.messages.push(kind, flags, |m| {
            m.raw(&nfgenmsg(NFPROTO_IPV4, 0));
            fill(m);
        });
    }

    fn delete_table(&mut self, table: &str) {
        self.push(DELTABLE, 0, |m| m.text(TABLE_NAME, table));
    }

    /// The table, its chains and the rules that don't depend on any network.
    fn base(&mut self, table: &str) {
        self.push(NEWTABLE, CREATE, |m| m.text(TABLE_NAME, table));
        for chain in CHAINS {
            self.push(NEWCHAIN, CREATE, |m| {
                m.text(CHAIN_TABLE, table);
                m.text(CHAIN_NAME, chain.name);
                if let Some((kind, number, priority)) = chain.hook {
                    m.nest(CHAIN_HOOK, |m| {
                        m.word_be(HOOK_NUMBER, number);
                        m.word_be(HOOK_PRIORITY, priority.cast_unsigned());
                    });
                    m.text(CHAIN_TYPE, kind);
                }
            });
        }
        for chain in BASE_CHAINS {
            let mut expressions = expr::to_this_host().to_vec();
            expressions.push(Expr::Verdict(Verdict::Jump(PORTS)));
            self.add(table, &Rule { chain, expressions }, BASE);
        }
    }

    fn add(&mut self, table: &str, rule: &Rule, comment: &str) {
        self.push(NEWRULE, CREATE | APPEND, |m| {
            m.text(RULE_TABLE, table);
            m.text(RULE_CHAIN, rule.chain);
            encode(m, RULE_EXPRESSIONS, &rule.expressions);
            let mut userdata = vec![USERDATA_COMMENT, (comment.len() + 1) as u8];
            userdata.extend_from_slice(comment.as_bytes());
            userdata.push(0);
            m.attr(RULE_USERDATA, &userdata);
        });
    }

    fn delete(&mut self, table: &str, rule: &Present) {
        self.push(DELRULE, 0, |m| {
            m.text(RULE_TABLE, table);
            m.text(RULE_CHAIN, &rule.chain);
            m.long_be(RULE_HANDLE, rule.handle);
        });
    }
}

/// `nfgenmsg`: family, version 0, resource id in network order.
pub(crate) fn nfgenmsg(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// A rule of the named table; kernels that ignore the filter list every table's.
fn parse(body: &[u8], table: &str) -> Option<Present> {
    let (mut ours, mut chain, mut handle, mut key) = (false, String::new(), None, String::new());
    for (kind, payload) in attrs(body.get(4..)?) {
        match kind {
            RULE_TABLE => ours = text(payload) == table,
            RULE_CHAIN => chain = text(payload),
            RULE_HANDLE => handle = Some(u64::from_be_bytes(payload.try_into().ok()?)),
            RULE_USERDATA => key = comment(payload).unwrap_or_default(),
            _ => {}
        }
    }
    ours.then_some(Present { chain, handle: handle?, key })
}

/// The comment among a rule's user data, which is a list of type, length, bytes.
fn comment(mut userdata: &[u8]) -> Option<String> {
    loop {
        let (kind, length) = (*userdata.first()?, usize::from(*userdata.get(1)?));
        let payload = userdata.get(2..2 + length)?;
        if kind == USERDATA_COMMENT {
            return Some(text(payload));
        }
        userdata = &userdata[2 + length..];
    }
}
