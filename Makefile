# What can be set:
#   PREFIX, DESTDIR   where `make install` puts things          (/usr/local, nothing)
#   CC                the compiler; gcc and clang are kept clean (cc)
#   SANITIZE          address,undefined or thread: a build of its own in build/sanitize-…
#   DEBUG=1           no optimisation
#   V=1               shows every command
#   ONLY              a path: run only the C test or the specs below it, `make test ONLY=tests/lua/check_spec.lua`
PREFIX ?= /usr/local
DESTDIR ?=
SANITIZE ?=
DEBUG ?=
ONLY ?=
VERSION := 0.1.0

comma := ,
BUILD := build$(if $(SANITIZE),/sanitize-$(subst $(comma),-,$(SANITIZE)))
Q := $(if $(V),,@)

# Compilers run side by side, unless make was told how many; a make within shares those of the one above.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Wstrict-prototypes -Wmissing-prototypes \
        -Wpointer-arith -Wcast-qual -Wwrite-strings -Werror
# Beside wslay, whose Debian package has no file for pkg-config.
LIBS := libuv libcurl libmicrohttpd sqlite3 libcjson yaml-0.1 libcrypto libpcre2-8
CPPFLAGS += -Iruntime -I. -I$(BUILD) -D_GNU_SOURCE -DPERIGEE_VERSION='"$(VERSION)"' $(PACKAGE_CFLAGS)
CFLAGS += -std=c11 $(if $(DEBUG),-O0,-O2) -g $(WARN) -fno-omit-frame-pointer -fstack-protector-strong -MMD -MP
# Lua lies in the program, with its names visible: that is what lets C modules of scripts (Busted's) load.
LDFLAGS += -Wl,-E -Wl,--as-needed -Wl,-z,relro,-z,now
LDLIBS = -Wl,--whole-archive -l:liblua5.4.a -Wl,--no-whole-archive $(PACKAGE_LIBS) -lm -ldl -lpthread

# Made once what is needed has been installed; make then starts again with it, so that the first
# command on a new machine may be any of those below.
ifeq ($(filter clean deps%,$(MAKECMDGOALS)),)
include build/packages.mk
endif
build/packages.mk: scripts/deps Makefile
	@scripts/deps build
	@mkdir -p build
	@echo "PACKAGE_CFLAGS := $$(pkg-config --cflags lua5.4 $(LIBS))" >$@
	@echo "PACKAGE_LIBS := $$(pkg-config --libs $(LIBS)) -lwslay" >>$@

ifeq ($(SANITIZE),thread)
# gcc 12's ThreadSanitizer keeps the history of all that ever ran, some gigabytes a minute.
$(shell scripts/deps fuzz >&2)
CC := clang
# Debian's Lua leaves by the checked longjmp, which the sanitizer does not see: its own stack grows.
LDFLAGS += -Wl,--defsym=__longjmp_chk=longjmp
endif
ifneq ($(SANITIZE),)
CFLAGS += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all
LDFLAGS += -fsanitize=$(SANITIZE)
export ASAN_OPTIONS ?= detect_leaks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS ?= print_stacktrace=1
export LSAN_OPTIONS ?= suppressions=tests/lint/lsan.supp:print_suppressions=0
export TSAN_OPTIONS ?= halt_on_error=1:suppressions=tests/lint/tsan.supp
else
CPPFLAGS += $(if $(DEBUG),,-D_FORTIFY_SOURCE=2)
endif

SOURCES := $(wildcard runtime/*/*.c)
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o) $(BUILD)/embedded.o
EMBEDDED := $(shell find lua/stdlib examples/shop -type f 2>/dev/null | sort) runtime/store/schema.sql $(wildcard runtime/app/web/*)
TESTS := $(wildcard tests/c/*/*_test.c)
TEST_BINARIES := $(TESTS:%.c=$(BUILD)/%)

.DEFAULT_GOAL := all
.PHONY: all deps deps-lint deps-fuzz deps-bench test build-tests test-c test-lua test-e2e soak demo bench parity lint build-fuzz fuzz install clean
all: $(BUILD)/perigee

$(BUILD)/perigee: $(OBJECTS)
	@echo "  link $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $(OBJECTS) $(LDLIBS)

$(BUILD)/%.o: %.c Makefile
	@echo "  cc   $<"
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# Loops over rows are made for vectors, which gcc leaves out at -O2, and wherever a comparison of
# floats could trap.
$(BUILD)/runtime/kernels/boost_%.o: CFLAGS += $(if $(DEBUG),,-O3) -fno-trapping-math

# The standard library as bytecode, the schema, the page and the shop as bytes: one file of C arrays.
$(BUILD)/embedded.c: runtime/app/embed.lua $(EMBEDDED)
	@echo "  embed $(words $(EMBEDDED)) files"
	@mkdir -p $(@D)
	$(Q)lua5.4 runtime/app/embed.lua $(EMBEDDED) >$@.new && mv $@.new $@

$(BUILD)/embedded.o: $(BUILD)/embedded.c
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# What is missing is installed, as root or through sudo; when nothing is, this costs milliseconds.
deps:
	@scripts/deps build
deps-lint deps-fuzz deps-bench:
	@scripts/deps $(@:deps-%=%)

# A C test is linked with everything but main(): the linker takes what it needs from the archive.
$(BUILD)/runtime.a: $(filter-out $(BUILD)/runtime/app/main.o,$(OBJECTS))
	$(Q)rm -f $@ && ar rcs $@ $^

$(TEST_BINARIES): $(BUILD)/%: %.c $(BUILD)/runtime.a $(wildcard tests/c/*.h)
	@echo "  cc   $<"
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(BUILD)/runtime.a -lcmocka $(LDLIBS)

# Programs of the benchmarks, where Lua would be part of what is measured.
$(BUILD)/bench/%: bench/%.c $(BUILD)/runtime.a
	@echo "  cc   $<"
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(BUILD)/runtime.a $(LDLIBS)

# What crash_spec.lua preloads; never sanitized, for it must get by without the program's runtime.
$(BUILD)/crash_shim.so: tests/e2e/crash_shim.c Makefile
	@echo "  cc   $<"
	$(Q)$(CC) $(CPPFLAGS) $(filter-out -fsanitize=% -fno-sanitize%,$(CFLAGS)) -fPIC -shared -o $@ $<

# The official clients and servers that the fakes are held against. Nothing of them runs on the way in.
build/node/installed: tests/node/package.json tests/node/package-lock.json
	@echo "  npm  build/node"
	@mkdir -p build/node
	$(Q)cp tests/node/package.json tests/node/package-lock.json build/node/
	$(Q)cd build/node && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error >npm.log 2>&1 || { cat npm.log >&2; exit 1; }
	$(Q)touch $@

# One kind after the other: the specs from end to end want the machine for themselves.
test: deps all
	@$(MAKE) --no-print-directory test-c
	@$(MAKE) --no-print-directory test-lua
	@$(MAKE) --no-print-directory test-e2e
	@echo "all tests passed"
# What the tests, or the fuzz targets, need: built, and nothing run.
build-tests: all $(TEST_BINARIES) $(BUILD)/crash_shim.so
test-c: $(TEST_BINARIES)
	@tests/run c $(BUILD) $(ONLY)
test-lua: all build/node/installed
	@tests/run lua $(BUILD) $(ONLY)
test-e2e: all build/node/installed $(BUILD)/crash_shim.so
	@tests/run e2e $(BUILD) $(ONLY)

# The long form of the specs that come short in `make test`: a crash at every point, 1,000 reloads.
# It tells how far it is, and takes a quarter of an hour.
SOAKS := crash kubernetes_crash reload_soak slack_clicks slack_http webhook
soak: deps all build/node/installed $(BUILD)/crash_shim.so
	@set -e; for spec in $(SOAKS); do SOAK=1 PERIGEE=$(CURDIR)/$(BUILD)/perigee $(BUILD)/perigee lua \
	  "$$(command -v busted)" --output=plainTerminal --helper=tests/helper.lua tests/e2e/$${spec}_spec.lua; done

demo: deps all
	@$(BUILD)/perigee demo

# The figures of docs/performance.md, measured here and now, with the machine's load beside them. In
# short (BENCH_SHORT=1) peers that are not there are not installed: their figures are "not measured".
bench: $(if $(BENCH_SHORT),,deps-bench) all $(patsubst %.c,$(BUILD)/%,$(wildcard bench/*.c))
	@$(BUILD)/perigee lua bench/run.lua $(ONLY)

# Ours against scikit-learn, Prophet and XGBoost, on the data beside this folder.
parity: deps-bench all
	@tests/parity/run $(BUILD) $(ONLY)

lint: deps-lint
	@tests/lint/run

# Each target of tests/fuzz/ for FUZZ_SECONDS, with what it finds new added to build/fuzz/corpus. The
# runtime is built once for all of them, a make of its own with clang.
FUZZ_SECONDS ?= 60
FUZZERS := $(patsubst tests/fuzz/%_fuzz.c,build/fuzz/%,$(wildcard tests/fuzz/*_fuzz.c))
FUZZ_KINDS := fuzzer-no-link,address,undefined
FUZZ_RUNTIME := build/sanitize-$(subst $(comma),-,$(FUZZ_KINDS))/runtime.a
build-fuzz: deps-fuzz
	@$(MAKE) --no-print-directory CC=clang SANITIZE=$(FUZZ_KINDS) $(FUZZ_RUNTIME)
	@$(MAKE) --no-print-directory $(FUZZERS)
fuzz: build-fuzz
	@tests/fuzz/run $(FUZZ_SECONDS) $(FUZZERS)
build/fuzz/%: tests/fuzz/%_fuzz.c $(wildcard tests/fuzz/*.h) $(FUZZ_RUNTIME)
	@echo "  fuzz $<"
	@mkdir -p build/fuzz
	$(Q)clang $(CPPFLAGS) -std=c11 -O1 -g $(WARN) -fsanitize=fuzzer,address,undefined \
	  -fno-sanitize-recover=all -Wl,-E -o $@ $< $(FUZZ_RUNTIME) $(LDLIBS)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/perigee $(DESTDIR)$(PREFIX)/share/doc/perigee
	install -m 755 $(BUILD)/perigee $(DESTDIR)$(PREFIX)/bin/perigee
	cp -R examples rules $(DESTDIR)$(PREFIX)/share/perigee/
	cp -R README.md docs $(DESTDIR)$(PREFIX)/share/doc/perigee/

clean:
	rm -rf build

-include $(OBJECTS:.o=.d) $(TEST_BINARIES:%=%.d)
