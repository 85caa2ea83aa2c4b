# Everything a person does with this tree. `make run` and `make test` need Debian, Rust and a C linker.
SHELL   := /bin/bash
PREFIX  ?= /usr/local
DESTDIR ?=
HOST    := $(shell rustc -vV | sed -n 's/^host: //p')
TARGET  := $(or $(CARGO_TARGET_DIR),target)
BIN     := $(TARGET)/bin

# Static programs: no dynamic linker at start, nothing of the host's libraries inside a container's namespaces.
STATIC  := sampan-runtime containerd-shim-sampan-v2 sampan-net
DYNAMIC := sampand sampan

.PHONY: all build run test bench fuzz lint install uninstall clean peers

all: build

build:
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --locked --profile small --target $(HOST) \
	  -p sampan-runtime -p sampan-shim -p sampan-network --bins
	cargo build --quiet --locked --release -p sampand -p sampan --bins
	@mkdir -p $(BIN)
	@for p in $(STATIC); do install -m 755 $(TARGET)/$(HOST)/small/$$p $(BIN)/$$p; done
	@for p in $(DYNAMIC); do install -m 755 $(TARGET)/release/$$p $(BIN)/$$p; done

# A private node with embedded defaults, one container, its output and timeline; nothing stays behind.
run: build
	@scripts/run.sh $(BIN)

# Debian's packages of the programs that the tests talk to.
peers:
	@scripts/peers.sh

lint:
	cargo fmt --all -- --check
	cargo clippy --quiet --locked --workspace --all-targets -- -D warnings

test: peers build lint
	SAMPAN_BIN=$(abspath $(BIN)) cargo nextest run --locked --workspace --no-fail-fast

bench: peers build
	SAMPAN_BIN=$(abspath $(BIN)) cargo run --quiet --locked --release -p sampan-tests --bin sampan-bench

# Each fuzz target for so many seconds, one process each; what they find is left in $(TARGET)/fuzz.
# The coverage flags are those of cargo-fuzz that a stable compiler takes; nothing here needs a sanitizer's run time.
FUZZ_TIME  ?= 3600
FUZZ       := config seccomp
FUZZ_FLAGS := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1

fuzz:
	RUSTFLAGS="$(FUZZ_FLAGS)" cargo build --quiet --locked --release --manifest-path fuzz/Cargo.toml --target $(HOST) \
	  --target-dir $(TARGET)/fuzz
	$(TARGET)/fuzz/$(HOST)/release/seeds $(TARGET)/fuzz/corpus
	@for t in $(FUZZ); do nice -n 19 $(TARGET)/fuzz/$(HOST)/release/$$t $(TARGET)/fuzz/corpus/$$t -max_total_time=$(FUZZ_TIME) \
	  -timeout=10 -rss_limit_mb=1024 -max_len=8192 -artifact_prefix=$(TARGET)/fuzz/$$t- -print_final_stats=1 \
	  2> $(TARGET)/fuzz/$$t.log & pids="$$pids $$!"; done; \
	status=0; for p in $$pids; do wait $$p || status=1; done; \
	for t in $(FUZZ); do tail -n 6 $(TARGET)/fuzz/$$t.log | sed "s/^/$$t: /"; done; exit $$status

install: build
	scripts/install.sh "$(DESTDIR)" "$(PREFIX)" $(BIN)

uninstall:
	scripts/install.sh --remove "$(DESTDIR)" "$(PREFIX)" $(BIN)

clean:
	cargo clean
