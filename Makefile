# A thin front for Meson; `make help` says what there is.
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
PYTHON ?= python3
PYTEST = $(PYTHON) -B -m pytest -q -p no:cacheprovider
ASAN = -Db_sanitize=address,undefined -Db_lundef=false
TSAN = -Db_sanitize=thread -Db_lundef=false

.DEFAULT_GOAL := build
.PHONY: help deps build demo run test unit conformance conformance-control check-asan check-tsan fuzz-replay fuzz bench bench-streams test-recovery \
        clients-kit install fmt lint clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 28

deps: ## install the Debian packages that are missing (root or sudo)
	@scripts/deps

$(BUILD)/build.ninja:
	meson setup $(BUILD) --prefix $(PREFIX)

build: $(BUILD)/build.ninja ## build everything into $(BUILD)/
	ninja -C $(BUILD)

demo: deps build ## install, build, start a daemon, and show docker run, exec, logs and ps on it
	tools/demo.sh $(BUILD)

run: build ## sockerless serve in the foreground on a socket under $(BUILD)/run
	tools/run.sh $(BUILD)

test: deps build ## every unit test, then the conformance suite on our own daemon; ends with the totals
	tools/test.sh $(BUILD)

unit: build ## the tests of the rooms only
	meson test -C $(BUILD) --print-errorlogs

conformance: build ## tests/conformance; SL_TEST_HOST=unix:///x.sock runs it against another engine, K=... chooses cases
	SL_BUILD=$(BUILD) $(PYTEST) tests/conformance $(if $(K),-k '$(K)')

test-recovery: build ## the crash and replacement cases, with 500 containers that print while the daemon is replaced
	SL_BUILD=$(BUILD) SL_REPLACED_CONTAINERS=500 $(PYTEST) tests/recovery $(if $(K),-k '$(K)')

conformance-control: ## the same cases against Docker Engine (package docker.io, root), to judge the cases
	tests/support/control.sh $(PYTEST) tests/conformance $(if $(K),-k '$(K)')

check-asan: deps ## units and conformance under AddressSanitizer and UBSan, in build-asan/
	test -e build-asan/build.ninja || meson setup build-asan $(ASAN)
	ninja -C build-asan
	tools/test.sh build-asan

check-tsan: deps ## units and conformance under ThreadSanitizer, in build-tsan/
	test -e build-tsan/build.ninja || meson setup build-tsan $(TSAN)
	ninja -C build-tsan
	tools/test.sh build-tsan

fuzz-replay: build ## every fuzz target over its corpus
	meson test -C $(BUILD) --suite fuzz --print-errorlogs

fuzz: ## search every fuzz target with libFuzzer for SECONDS=60 each; T='tar ws' chooses
	tests/fuzz.sh $(or $(SECONDS),60) $(T)

bench-streams: build ## memory of 5000 open streams, and a ping beside them
	for kind in logs attach events; do $(PYTHON) -B bench/streams.py $$(tools/stage.sh $(BUILD)) 5000 $$kind || exit; done

bench: deps build ## measure ours, and Docker Engine beside it where it is installed
	bench/run.sh $(BUILD)

clients-kit: build ## the cli/* cases of a client kit: CLIENTS_KIT=FOLDER make clients-kit
	tests/clients.sh $(BUILD)

install: build ## install under DESTDIR and PREFIX
	DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

fmt: ## clang-format over our C
	git ls-files '*.c' '*.h' | grep -v '^sandbox/guest/' | xargs clang-format -i

lint: ## house rules
	$(PYTHON) -B tools/checksrc.py

clean: ## remove the build folders
	rm -rf build build-asan build-tsan build-fuzz
