# Two commands on a fresh machine: `make demo` shows what reaperd does, `make test` proves it.
.PHONY: demo test bench build tools-demo tools-test
.DEFAULT_GOAL := build

CARGO ?= cargo

build:
	$(CARGO) build

# A real redis-server, an unruly crowd of real connections, and the daemon. `make demo FOR=5m` to look around.
FOR ?= 30s
demo: tools-demo
	$(CARGO) build
	./target/debug/reaperd demo --for $(FOR)

test: tools-test
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) test

# Prints ratios against a named peer or limit, measured in the same run.
bench: tools-demo
	$(CARGO) bench

tools-demo:
	@deploy/need redis-server

tools-test:
	@deploy/need redis-server prometheus-alertmanager openssl curl
