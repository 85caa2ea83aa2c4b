//! The expressions of nftables rules and their netlink form.
//!
//! Only what our rules need: loads into register 1, comparisons with it, and statements.
//! Values are compared as they lie in memory: packet fields in network order, the kernel's own
//! (marks, connection state) in the machine's.

use crate::netlink::Body;
use crate::subnet::Subnet;
use std::net::Ipv4Addr;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;

const REG_VERDICT: u32 = 0;
const REG_1: u32 = 1;
const REG_2: u32 = 2;

/// How a register is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Eq = 0,
    Ne = 1,
    Le = 3,
    Ge = 5,
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Drop,
    Accept,
    Jump(&'static str),
}

/// What `meta` loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meta {
    IifName = 6,
    OifName = 7,
    L4Proto = 16,
}

/// What `ct` loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ct {
    State = 0,
    Status = 2,
}

/// A header of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Network = 1,
    Transport = 2,
}

/// One expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expr {
    Meta(Meta),
    Ct(Ct),
    Payload(Base, u32, u32),
    /// The type of the destination address, as routing sees it.
    FibDestinationType,
    Cmp(Op, Vec<u8>),
    And(Vec<u8>),
    Counter,
    Verdict(Verdict),
    /// Changes the destination's address, and port where given.
    Dnat(Ipv4Addr, Option<u16>),
    Masquerade,
}

/// `iifname "x"`, `oifname != "x"`, ...
pub(crate) fn interface(which: Meta, op: Op, name: &str) -> [Expr; 2] {
    let mut padded = [0; 16];
    let length = name.len().min(15);
    padded[..length].copy_from_slice(&name.as_bytes()[..length]);
    [Expr::Meta(which), Expr::Cmp(op, padded.to_vec())]
}

/// `ip saddr 10.0.0.0/8`
pub(crate) fn source(subnet: Subnet) -> Vec<Expr> {
    address(12, subnet)
}

/// `ip daddr 10.0.0.0/8`
pub(crate) fn destination(subnet: Subnet) -> Vec<Expr> {
    address(16, subnet)
}

fn address(offset: u32, subnet: Subnet) -> Vec<Expr> {
    let mut out = vec![Expr::Payload(Base::Network, offset, 4)];
    if subnet.prefix() < 32 {
        out.push(Expr::And(subnet.mask().octets().to_vec()));
    }
    out.push(Expr::Cmp(Op::Eq, subnet.network().octets().to_vec()));
    out
}

/// `tcp dport 80` or `tcp dport 80-90`
pub(crate) fn port(protocol: u8, first: u16, last: u16) -> Vec<Expr> {
    let mut out =
        vec![Expr::Meta(Meta::L4Proto), Expr::Cmp(Op::Eq, vec![protocol]), Expr::Payload(Base::Transport, 2, 2)];
    if first == last {
        out.push(Expr::Cmp(Op::Eq, first.to_be_bytes().to_vec()));
    } else {
        out.push(Expr::Cmp(Op::Ge, first.to_be_bytes().to_vec()));
        out.push(Expr::Cmp(Op::Le, last.to_be_bytes().to_vec()));
    }
    out
}

/// `fib daddr type local`
pub(crate) fn to_this_host() -> [Expr; 2] {
    const RTN_LOCAL: u32 = 2;
    [Expr::FibDestinationType, Expr::Cmp(Op::Eq, RTN_LOCAL.to_ne_bytes().to_vec())]
}

/// `ct state established,related`
pub(crate) fn established_or_related() -> [Expr; 3] {
    ct_bits(Ct::State, 2 | 4)
}

/// `ct status dnat`
pub(crate) fn redirected() -> [Expr; 3] {
    const IPS_DST_NAT: u32 = 1 << 5;
    ct_bits(Ct::Status, IPS_DST_NAT)
}

fn ct_bits(key: Ct, bits: u32) -> [Expr; 3] {
    [Expr::Ct(key), Expr::And(bits.to_ne_bytes().to_vec()), Expr::Cmp(Op::Ne, vec![0; 4])]
}

/// Writes the list of a rule's expressions.
pub(crate) fn encode(body: &mut Body<'_>, attribute: u16, expressions: &[Expr]) {
    body.nest(attribute, |list| {
        for expression in expressions {
            encode_one(list, expression);
        }
    });
}

fn element(list: &mut Body<'_>, name: &str, fill: impl FnOnce(&mut Body<'_>)) {
    list.nest(NFTA_LIST_ELEM, |e| {
        e.text(NFTA_EXPR_NAME, name);
        e.nest(NFTA_EXPR_DATA, fill);
    });
}

fn value(body: &mut Body<'_>, attribute: u16, bytes: &[u8]) {
    body.nest(attribute, |d| d.attr(NFTA_DATA_VALUE, bytes));
}

fn immediate(list: &mut Body<'_>, register: u32, bytes: &[u8]) {
    element(list, "immediate", |d| {
        d.word_be(1, register);
        value(d, 2, bytes);
    });
}

// The numbers below are attribute types of the expression's own (NFTA_META_DREG, ...), in
// linux/netfilter/nf_tables.h.
fn encode_one(list: &mut Body<'_>, expression: &Expr) {
    match expression {
        Expr::Meta(key) => element(list, "meta", |d| {
            d.word_be(1, REG_1);
            d.word_be(2, *key as u32);
        }),
        Expr::Ct(key) => element(list, "ct", |d| {
            d.word_be(1, REG_1);
            d.word_be(2, *key as u32);
        }),
        Expr::Payload(base, offset, length) => element(list, "payload", |d| {
            d.word_be(1, REG_1);
            d.word_be(2, *base as u32);
            d.word_be(3, *offset);
            d.word_be(4, *length);
        }),
        Expr::FibDestinationType => element(list, "fib", |d| {
            const RESULT_ADDRESS_TYPE: u32 = 3;
            const FLAG_DADDR: u32 = 2;
            d.word_be(1, REG_1);
            d.word_be(2, RESULT_ADDRESS_TYPE);
            d.word_be(3, FLAG_DADDR);
        }),
        Expr::Cmp(op, bytes) => element(list, "cmp", |d| {
            d.word_be(1, REG_1);
            d.word_be(2, *op as u32);
            value(d, 3, bytes);
        }),
        Expr::And(mask) => element(list, "bitwise", |d| {
            d.word_be(1, REG_1);
            d.word_be(2, REG_1);
            d.word_be(3, mask.len() as u32);
            value(d, 4, mask);
            value(d, 5, &vec![0; mask.len()]);
        }),
        Expr::Counter => element(list, "counter", |_| {}),
        Expr::Verdict(verdict) => element(list, "immediate", |d| {
            d.word_be(1, REG_VERDICT);
            d.nest(2, |d| {
                d.nest(NFTA_DATA_VERDICT, |v| match verdict {
                    Verdict::Drop => v.word_be(NFTA_VERDICT_CODE, 0),
                    Verdict::Accept => v.word_be(NFTA_VERDICT_CODE, 1),
                    Verdict::Jump(chain) => {
                        v.word_be(NFTA_VERDICT_CODE, (-3i32).cast_unsigned());
                        v.text(NFTA_VERDICT_CHAIN, chain);
                    }
                });
            });
        }),
        Expr::Dnat(ip, port) => {
            const DNAT: u32 = 1;
            const NFPROTO_IPV4: u32 = 2;
            immediate(list, REG_1, &ip.octets());
            if let Some(port) = port {
                immediate(list, REG_2, &port.to_be_bytes());
            }
            element(list, "nat", |d| {
                d.word_be(1, DNAT);
                d.word_be(2, NFPROTO_IPV4);
                d.word_be(3, REG_1);
                if port.is_some() {
                    d.word_be(5, REG_2);
                }
            });
        }
        Expr::Masquerade => element(list, "masq", |_| {}),
    }
}
