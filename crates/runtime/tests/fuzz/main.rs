//! The fuzz targets on their seeds and on changed seeds, a fixed number of times: what `make fuzz` does for an hour.
//! `SAMPAN_FUZZ_SEED` and `SAMPAN_FUZZ_ROUNDS` choose other changes.

mod seeds;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Xorshift: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// A few changes of the kinds that fuzzers make.
    fn change(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let end = (at + 1 + self.below(24)).min(bytes.len());
            match self.below(7) {
                0 if at < bytes.len() => bytes[at] = self.next() as u8,
                1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
                4 => {
                    let words = seeds::WORDS;
                    bytes.splice(at..end, words[self.below(words.len())].bytes());
                }
                5 => {
                    let other = &seeds[self.below(seeds.len())];
                    let (a, b) = (self.below(other.len()), self.below(other.len()));
                    bytes.splice(at..end, other[a.min(b)..a.max(b)].iter().copied());
                }
                _ => bytes.insert(at, self.next() as u8),
            }
            bytes.truncate(16 << 10);
        }
        bytes
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn rounds(target: fn(&[u8]), seeds: &[Vec<u8>], default: u64) {
    let seed = number("SAMPAN_FUZZ_SEED", 0x5a17_9a2b_11c3_7f01).max(1);
    let rounds = number("SAMPAN_FUZZ_ROUNDS", default);
    println!("SAMPAN_FUZZ_SEED={seed}, {} seeds, {rounds} changed ones", seeds.len());
    let mut random = Random(seed);
    let changed = std::iter::repeat_with(|| random.change(seeds)).take(rounds as usize);
    for input in seeds.iter().cloned().chain(changed) {
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            panic!("fails on {:?}", String::from_utf8_lossy(&input));
        }
    }
}

#[test]
fn config_to_plan() {
    rounds(runtime::fuzzing::config, &seeds::config(), 4000);
}

#[test]
fn policy_to_filter() {
    rounds(runtime::fuzzing::seccomp, &seeds::seccomp(), 1000);
}
