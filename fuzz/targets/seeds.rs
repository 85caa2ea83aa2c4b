//! Writes the seeds into corpus directories: `seeds DIRECTORY`.

// For the symbols that instrumented code refers to.
use libfuzzer_sys as _;

#[path = "../../crates/runtime/tests/fuzz/seeds.rs"]
mod seeds;

fn main() -> std::io::Result<()> {
    let directory = std::env::args_os().nth(1).expect("usage: seeds DIRECTORY");
    let directory = std::path::Path::new(&directory);
    for (target, inputs) in [("config", seeds::config()), ("seccomp", seeds::seccomp())] {
        let corpus = directory.join(target);
        std::fs::create_dir_all(&corpus)?;
        for (number, input) in inputs.iter().enumerate() {
            std::fs::write(corpus.join(format!("seed-{number:03}")), input)?;
        }
    }
    let words: String = seeds::WORDS.iter().map(|w| format!("{:?}\n", w.replace('\0', ""))).collect();
    std::fs::write(directory.join("words"), words)
}
