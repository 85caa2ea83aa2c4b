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

.PHONY: all build run test bench lint install uninstall clean peers

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

install: build
	scripts/install.sh "$(DESTDIR)" "$(PREFIX)" $(BIN)

uninstall:
	scripts/install.sh --remove "$(DESTDIR)" "$(PREFIX)" $(BIN)

clean:
	cargo clean
