# tallygate: every command of the project. Each prints what it does, ends with one line that says
# the result, and its exit status is that result. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# V=asan builds everything of ours once more with the sanitizers, under build/asan.
V ?=
B := build$(if $(V),/$(V))
CC := gcc
CXX := g++
PYTHON := /usr/bin/python3
PKGS := jansson libcrypto libuv libmicrohttpd sqlite3 lua5.4 libpcre2-8 yaml-0.1 hiredis libcurl

WARN := -Wall -Wextra -Wshadow -Wvla -Wconversion -Werror
HARDEN := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
ifeq ($(V),asan)
OPT := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
HARDEN :=
else
OPT := -O2 -g
endif
INCS = -I. -Iorchestrator -Ibuild/gen $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CFLAGS = -std=gnu11 $(OPT) $(HARDEN) $(WARN) -Wstrict-prototypes -D_GNU_SOURCE $(INCS)
# valijson and its standard headers are not ours: as system headers they raise no warning of ours
CXXFLAGS = -std=c++17 $(OPT) $(HARDEN) -Wall -Wextra -Wshadow -Werror $(INCS)
LDFLAGS := $(OPT) $(if $(V),,-pie -Wl,-z,relro,-z,now)
LIBS = -ljose $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lpthread

SRC_C := $(wildcard common/*.c orchestrator/*/*.c)
SRC_CC := $(wildcard orchestrator/*/*.cc)
MAIN := orchestrator/cmd/main.c
OBJ := $(SRC_C:%.c=$(B)/obj/%.o) $(SRC_CC:%.cc=$(B)/obj/%.o)
LIB_OBJ := $(filter-out $(B)/obj/$(MAIN:.c=.o),$(OBJ))

UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT_HELP := $(filter-out $(UNIT_SRC),$(wildcard tests/unit/*.c))
UNIT_BIN := $(UNIT_SRC:tests/unit/%.c=$(B)/unit/%)
UNIT_HELP_OBJ := $(UNIT_HELP:%.c=$(B)/obj/%.o)
SIM_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/sim/*.c))

MODULE := build/ngx_http_tally_module.so
MODULE_SRC := $(wildcard ngx_module/*.c ngx_module/*.h common/*.c common/*.h) ngx_module/config \
	ngx_module/exports.map
GEN := build/gen/admit_lua.h build/gen/trim_lua.h

.PHONY: print-ngx-flags test-debian13 image test-image help deps build module demo run test lint bench bench-pipeline sim fuzz soak install clean \
	unit-bins asan test-fast format

help:
	@echo "make deps      install what is missing (apt, npm); starts no service"
	@echo "make build     $(MODULE) and build/tallygate"
	@echo "make demo      one week of approved time, sent, posted, reconciled"
	@echo "make run       the same, and stays up"
	@echo "make test      the whole suite, on a fresh machine too"
	@echo "make test-debian13   the whole suite in a Debian 13 chroot, as root; DEBIAN13=DIRECTORY keeps it"
	@echo "make image     the container images, without an engine, as root; docs/reference/deploy.md"
	@echo "make test-image   the images as compose.yaml runs them: kills, exactly once, what is in them"
	@echo "make lint      formatting, static analysis, length, layering"
	@echo "make bench     the edge: ratios of one run, see docs/performance.md"
	@echo "make bench-pipeline  the orchestrator: drain, steady load, slow disk, grown journal"
	@echo "make sim       SEED=1 RUNS=1000: the engine in a simulated world"
	@echo "make fuzz      FUZZ_SECONDS=60: parsers under libFuzzer"
	@echo "make soak      SOAK_SECONDS=600: kills under load, then a count of every event"
	@echo "make install   PREFIX=/usr/local: module, binary, configuration, rules"
	@echo "make clean     everything made at build and run time"

deps:
	@tests/harness/deps.sh

# ---- build ----

build: $(MODULE) build/tallygate shell-files compile_commands.json
	@echo "build: ok ($(MODULE), build/tallygate)"

# What follows from the command table: man page (by way of docs/reference/cli.md) and completions.
SHELL_FILES := build/shell/tallygate.1 build/shell/tallygate.bash build/shell/_tallygate
build/shell/tallygate.1: docs/man.py docs/reference/cli.md build/tallygate
	@mkdir -p $(@D)
	@echo "  gen  $@"
	@$(PYTHON) docs/man.py "$$(build/tallygate --version | cut -d' ' -f2)" > $@
build/shell/tallygate.bash: build/tallygate
	@mkdir -p $(@D)
	@echo "  gen  $@"
	@build/tallygate completion bash > $@
build/shell/_tallygate: build/tallygate
	@mkdir -p $(@D)
	@echo "  gen  $@"
	@build/tallygate completion zsh > $@

.PHONY: shell-files
shell-files: $(SHELL_FILES)

asan:
	@$(MAKE) --no-print-directory V=asan build/asan/tallygate unit-bins build/asan/sim

$(B)/tallygate: $(OBJ)
	@echo "  link $@"
	@$(CXX) $(LDFLAGS) -o $@ $(OBJ) $(LIBS)

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc   $<"
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/obj/%.o: %.cc
	@mkdir -p $(@D)
	@echo "  c++  $<"
	@$(CXX) $(CXXFLAGS) -MMD -MP -c -o $@ $<

$(OBJ) $(UNIT_HELP_OBJ): | $(GEN)

build/gen/%_lua.h: lua_rules/redis/%.lua ngx_module/embed.sh
	@mkdir -p $(@D)
	@echo "  gen  $@"
	@ngx_module/embed.sh $< $@

-include $(OBJ:.o=.d) $(SIM_OBJ:.o=.d) $(UNIT_HELP_OBJ:.o=.d) $(UNIT_BIN:=.d)

module: $(MODULE)
$(MODULE): $(MODULE_SRC) build/gen/admit_lua.h ngx_module/build.sh
	@ngx_module/build.sh $(MODULE)

# NGINX's headers are not ours: as system headers they raise no warning of ours; `len = p - buf` is its
# idiom, so signs are left alone there
NGX_SRC := /usr/share/nginx/src/src
NGX_FLAGS := -std=gnu11 -Wall -Wextra -Wno-unused-parameter -Wshadow -Wvla -Wconversion \
	-Wno-sign-conversion -Wstrict-prototypes $(patsubst %,-isystem $(NGX_SRC)/%,core event event/modules \
	event/quic os/unix http http/modules http/v2 http/v3) -isystem build/ngx -I. -Ibuild/gen

compile_commands.json: $(SRC_C) $(SRC_CC) Makefile
	@$(PYTHON) tests/lint/compile_commands.py "$(CC) $(CFLAGS)" "$(CXX) $(CXXFLAGS)" \
		"$(CC) $(NGX_FLAGS)" $(SRC_C) $(SRC_CC) $(wildcard ngx_module/*.c) > $@

print-ngx-flags:
	@echo "$(NGX_FLAGS)"

# ---- tests ----

unit-bins: $(UNIT_BIN)

$(B)/unit/%: tests/unit/%.c $(LIB_OBJ) $(UNIT_HELP_OBJ)
	@mkdir -p $(@D)
	@echo "  test $@"
	@$(CC) $(CFLAGS) -Itests/unit -MMD -MP -MT $@ -MF $@.d -c -o $@.o $<
	@$(CXX) $(LDFLAGS) -o $@ $@.o $(UNIT_HELP_OBJ) $(LIB_OBJ) -lcmocka $(LIBS)

$(B)/sim: $(SIM_OBJ) $(LIB_OBJ)
	@echo "  link $@"
	@$(CXX) $(LDFLAGS) -o $@ $(SIM_OBJ) $(LIB_OBJ) $(LIBS)

test:
	@tests/harness/deps.sh
	@$(PYTHON) tests/run.py

# as root; the chroot is kept in this directory and brought up to date each time
DEBIAN13 ?= build/debian13
test-debian13:
	@tests/harness/debian13.sh $(DEBIAN13)

test-fast:
	@$(PYTHON) tests/run.py --fast

lint: $(MODULE)
	@tests/lint/lint.sh

format:
	@clang-format -i common/*.[ch] orchestrator/*/*.[ch] tests/unit/*.[ch] tests/sim/*.[ch]

SEED ?= 1
RUNS ?= 2000
sim: build/sim
	@build/sim $(SEED) $(RUNS)

FUZZ_SECONDS ?= 60
fuzz:
	@tests/fuzz/run.sh $(FUZZ_SECONDS)

SOAK_SECONDS ?= 600
soak: build
	@$(PYTHON) tests/fault/soak.py --seconds $(SOAK_SECONDS)

bench: build
	@$(PYTHON) tests/bench/bench.py

# PIPELINE="--seconds 600 --grown 5000000" for the figures of docs/performance.md
PIPELINE ?=
bench-pipeline: build
	@tests/harness/deps.sh --quiet bench
	@$(PYTHON) tests/bench/pipeline.py $(PIPELINE)

# ---- use ----

# ERP=tryton: the week goes into a real ERP, see docs/reference/tryton.md
ERP ?=
demo:
	@tests/harness/deps.sh --quiet build base $(if $(filter tryton,$(ERP)),tryton)
	@$(MAKE) --no-print-directory -s build
	@$(PYTHON) conf/demo/demo.py $(if $(ERP),--erp=$(ERP))

run:
	@tests/harness/deps.sh --quiet build base $(if $(filter tryton,$(ERP)),tryton)
	@$(MAKE) --no-print-directory -s build
	@$(PYTHON) conf/demo/demo.py --stay $(if $(ERP),--erp=$(ERP))

# as root, in a storage of its own; IMAGE_BASE=debian:trixie-slim pulls the base, IMAGE_ARCHIVE=FILE exports
IMAGE := build/image
image:
	@tests/harness/image.sh $(IMAGE)

test-image: image
	@$(PYTHON) -m pytest -q -p no:cacheprovider tests/image

PREFIX ?= /usr/local
DESTDIR ?=
install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/tallygate \
		$(DESTDIR)$(PREFIX)/share/tallygate $(DESTDIR)$(PREFIX)/share/man/man1 \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions
	install -m 755 build/tallygate $(DESTDIR)$(PREFIX)/bin/
	install -m 644 $(MODULE) $(DESTDIR)$(PREFIX)/lib/tallygate/
	cp -r conf lua_rules docs $(DESTDIR)$(PREFIX)/share/tallygate/
	install -m 644 build/shell/tallygate.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 build/shell/tallygate.bash \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/tallygate
	install -m 644 build/shell/_tallygate $(DESTDIR)$(PREFIX)/share/zsh/site-functions/
	@echo "install: ok ($(DESTDIR)$(PREFIX))"

clean:
	rm -rf build var compile_commands.json
	@echo "clean: ok"
