# boma-qemu: build, test, and the integration run of one host.
#
#   make test-integration HOST=askari [CERTS=internal] [KEEP=1] [NET=namespace|host] [ARGS=...]
#   make test-integration-clean
#   make test            the unit, netns and vm lanes
#   make check           format and lints
#   make bench           measurements, printed and never asserted
#   make soak            the long checks, by hand
#   make install [PREFIX=/usr/local] [DESTDIR=]   the program, its manual pages and the shells' completions
#   make deb             the Debian package, in target/debian

CARGO ?= cargo
# The machine's own Python: one that a user installed below their home may be unreadable to others.
PYTHON ?= /usr/bin/python3
FIXTURE := tests/fixtures/boma
IMAGE := debian-13-docker
BOMA := target/release/boma-qemu
export BOMA_ROOT ?= $(CURDIR)

.PHONY: build test-integration test-integration-clean test unit netns vm check format lints bench soak fuzz deps venv image install deb

build:
	$(CARGO) build --release

# Of what is built: `make build` first, as the user that has the compiler.
PREFIX ?= /usr/local
ZSH_FOLDER ?= site-functions
SHARE = $(DESTDIR)$(PREFIX)/share
BASH_COMPLETION = $(SHARE)/bash-completion/completions/boma-qemu
ZSH_COMPLETION = $(SHARE)/zsh/$(ZSH_FOLDER)/_boma-qemu
FISH_COMPLETION = $(SHARE)/fish/vendor_completions.d/boma-qemu.fish

install:
	@test -x $(BOMA) || { echo "make install: $(BOMA) is missing; next: make build" >&2; exit 2; }
	install -D -m 0755 $(BOMA) $(DESTDIR)$(PREFIX)/bin/boma-qemu
	$(BOMA) man $(SHARE)/man/man1
	mkdir -p $(dir $(BASH_COMPLETION) $(ZSH_COMPLETION) $(FISH_COMPLETION))
	$(BOMA) completions bash > $(BASH_COMPLETION)
	$(BOMA) completions zsh > $(ZSH_COMPLETION)
	$(BOMA) completions fish > $(FISH_COMPLETION)

deb: build
	.ci/deb/build

test-integration:
ifndef HOST
	@echo "make test-integration: which host? Say HOST=<name>, a file profiles/<name>.json; for example:" >&2
	@echo "    make test-integration HOST=askari" >&2
	@exit 2
endif
	@$(MAKE) --no-print-directory deps venv build
	$(BOMA) cycle $(HOST) $(if $(CERTS),--certs $(CERTS)) $(if $(KEEP),--keep) $(if $(NET),--net $(NET)) $(ARGS)

test-integration-clean:
	@$(MAKE) --no-print-directory build
	$(BOMA) prune --all

# What the program calls: QEMU, nftables, dnsmasq, pasta and so on.
deps:
	@.ci/install

# Ansible for the fixture repository, in the place where any playbook repository may keep its own.
venv: $(FIXTURE)/.venv/bin/ansible-playbook

$(FIXTURE)/.venv/bin/ansible-playbook: $(FIXTURE)/requirements.txt examples/requirements.txt
	$(PYTHON) -m venv $(FIXTURE)/.venv
	$(FIXTURE)/.venv/bin/pip install --quiet --requirement $(FIXTURE)/requirements.txt --requirement examples/requirements.txt
	@touch $@

# A guest under emulation leaves a processor idle a third of the time: the tests that boot nothing run beside those that
# do, and give way to them.
test: deps venv unit
	$(CARGO) test --no-run
	@$(MAKE) --no-print-directory --jobs=2 --keep-going BESIDE=--beside netns vm || { .ci/lane --failures; exit 1; }
	@.ci/lane --table

unit:
	$(CARGO) test --lib --bins --test seed_iso --test medium --test corpus --test layers --test recorded

netns: venv
	.ci/lane netns $(BESIDE) cli terminal flood promises looks own doctor audit serial page crash_states ansible netns

# The golden image of askari, for the tests that boot without the whole cycle.
image:
	@$(CARGO) run --quiet -- image list --json | grep --quiet '"image":"$(IMAGE)".*"current":true' \
	  || $(CARGO) run --quiet -- image build $(IMAGE)

# One VM at a time: the lane measures a machine, not the queue for it.
vm: venv image
	.ci/lane vm image_build vm_iso vm_media vm_attach vm_audit vm_seed vm_tiny vm_monitor vm_applied vm -- --test-threads=1 --nocapture

check: format lints

format:
	$(CARGO) fmt --all --check

lints:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

bench: build
	$(CARGO) bench

# A program that is used has no points to be stopped at: those are for the tests' build.
soak: venv image build deb fuzz
	! grep --quiet --text BOMA_FAILPOINT $(BOMA)
	$(CARGO) test --test ansible --test netns --test flood -- --test-threads=1 --nocapture --ignored
	$(CARGO) test --test image_build --test vm_audit --test vm_tiny --test vm_several --test vm_applied --test vm -- --test-threads=1 --nocapture --ignored

# Ten minutes each, or FUZZ_SECONDS; KINDS names fewer. What is found stays in fuzz/artifacts and ends the run. New inputs
# go to fuzz/found: what is worth keeping is copied into fuzz/corpus, which `make unit` replays. What is read by the line needs
# no long input, and many short ones find more.
FUZZ_SECONDS ?= 600
KINDS ?= $(notdir $(basename $(wildcard fuzz/fuzz_targets/*.rs)))
# The coverage that libFuzzer steers by, and the address sanitizer's runtime is not needed for it: a stable compiler does.
FUZZ_FLAGS := --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares

fuzz:
	cd fuzz && RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --target x86_64-unknown-linux-gnu
	@mkdir -p fuzz/artifacts
	@for kind in $(KINDS); do mkdir -p fuzz/found/$$kind; echo "== $$kind, $(FUZZ_SECONDS) s"; \
	  case $$kind in lease|qmp|control|sums|nbd|visible) longest=512 ;; observe|disk) longest=16384 ;; *) longest=4096 ;; esac; \
	  fuzz/target/x86_64-unknown-linux-gnu/debug/$$kind -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
	    -max_len=$$longest -timeout=10 -rss_limit_mb=1024 -verbosity=0 -artifact_prefix=fuzz/artifacts/$$kind- \
	    fuzz/found/$$kind fuzz/corpus/$$kind || exit 1; done
