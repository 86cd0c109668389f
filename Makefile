# make            the program and its links, here
# make test       all tests (or: prove t/)
# make check-quick  the most useful tests in less than 20 s, for the time between
#                 an edit and the next, and for packagers
# make demo, record, bench, asan, lint, static, install, install-systemd,
# uninstall, dist, clean: see README

CC ?= cc
CFLAGS ?= -O2 -g
PREFIX ?= /usr/local
EXEC_PREFIX ?= $(PREFIX)
bindir ?= $(EXEC_PREFIX)/bin
libexecdir ?= $(EXEC_PREFIX)/libexec
datarootdir ?= $(PREFIX)/share
mandir ?= $(datarootdir)/man
docdir ?= $(datarootdir)/doc/echo
bashcompdir ?= $(datarootdir)/bash-completion/completions
zshcompdir ?= $(datarootdir)/zsh/site-functions
systemdsystemunitdir ?= $(EXEC_PREFIX)/lib/systemd/system
INSTALL ?= install
LN_SR ?= contrib/ln-relative
PROVE ?= prove

# Where the program and its links go, and what the compiler leaves behind.
OUT = .
OBJ = $(OUT)/build

WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
	-Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wcast-align \
	-Wundef -Wvla -Wwrite-strings

# What this compiler lacks for this machine is left out. (zig cc creates files
# next to /dev/null.)
can = $(shell out=$$(mktemp -d); $(CC) $(1) -Werror -S -o $$out/s -x c \
	/dev/null >/dev/null 2>&1 && echo '$(1)'; rm -r $$out)
# gcc prints a note about its own ABI for 64-bit atomics on 32 bits.
NO_ABI_NOTE := $(call can,-Wno-psabi)
HARDENING := -fstack-protector-strong $(call can,-fstack-clash-protection) \
	$(call can,-fcf-protection)
# It needs -O, and a packager's own level goes before ours.
ifneq (,$(filter -O1 -O2 -O3 -Os,$(CFLAGS)))
ifeq (,$(findstring FORTIFY,$(CPPFLAGS) $(CFLAGS)))
HARDENING += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
endif
endif

ALL_CFLAGS = -std=c11 -D_GNU_SOURCE $(SYSTEM_CFLAGS) $(COMPAT_CFLAGS) -I. -MMD \
	-MP -fPIE $(WARNINGS) $(NO_ABI_NOTE) $(HARDENING) $(CPPFLAGS) $(CFLAGS)
# The linker of macOS has options of its own.
ALL_LDFLAGS = $(if $(filter Darwin,$(SYSTEM)),,-pie -Wl,-z,relro,-z,now) \
	$(LDFLAGS)

# Which files are compiled depends on the system. X_linux.c is for Linux, and
# X_posix.c for all others. X_none.c takes the place of X.c where the system does
# not have X. PORTABLE=1 compiles on Linux what other systems do, and with it
# KQUEUE=1 the engine for kqueue(2), which libkqueue provides there, by system calls
# that the sandbox does not know.
HASH := \#
ifndef SYSTEM
SYSTEM := $(shell uname -s)
endif
KIND := $(if $(PORTABLE),posix,$(if $(filter Linux,$(SYSTEM)),linux,posix))
HAS_KQUEUE = $(KQUEUE)$(filter-out Linux,$(SYSTEM))
HAS_URING := $(if $(filter linux,$(KIND)),$(shell { \
	echo '$(HASH)include "modes/serve/ring.h"'; \
	echo 'int test[RING_IS_BUILT_IN ? 1 : -1];'; } | $(CC) -std=c11 -I. \
	$(CPPFLAGS) $(CFLAGS) -fsyntax-only -x c - 2>/dev/null && \
	echo yes))
LACKING = $(if $(HAS_KQUEUE),,modes/serve/kqueue) \
	$(if $(HAS_URING),,modes/serve/uring) \
	$(if $(filter posix,$(KIND)),modes/serve/epoll modes/serve/pipe \
	modes/serve/sandbox modes/bench/process)
EVENTS = $(if $(filter linux,$(KIND)),epoll,$(if $(HAS_KQUEUE),kqueue,poll))
CONTROL = $(if $(filter Linux Darwin,$(SYSTEM)),pktinfo,dstaddr)

ALL_SOURCES = echo.c $(wildcard modes/*.c modes/*/*.c)
ALTERNATIVES = %_linux.c %_posix.c %_none.c modes/bench/events_%.c \
	modes/serve/control_v4_%.c $(LACKING:%=%.c)
SOURCES = $(filter-out $(ALTERNATIVES),$(ALL_SOURCES)) \
	$(filter %_$(KIND).c,$(ALL_SOURCES)) $(LACKING:%=%_none.c) \
	modes/bench/events_$(EVENTS).c modes/serve/control_v4_$(CONTROL).c \
	$(COMPAT:%=modes/lib/compat/%.c)

# What Linux has and other systems may lack: modes/lib/compat.
SYSTEM_CFLAGS = $(if $(filter NetBSD,$(SYSTEM)),-D_NETBSD_SOURCE) \
	$(if $(filter OpenBSD,$(SYSTEM)),-D_BSD_SOURCE)
COMPAT_NAMES = SOCK_CLOEXEC accept4 memrchr mempcpy pipe2 ppoll reallocarray \
	recvmmsg setprogname
COMPAT_HEADERS = sys/types.h sys/socket.h fcntl.h poll.h stdlib.h string.h \
	unistd.h
lacks = $(shell out=$$(mktemp -d); { for header in $(COMPAT_HEADERS); do \
	echo "$(HASH)include <$$header>"; done; \
	echo 'void test(void) { (void)$(1); }'; } | $(CC) -std=c11 \
	$(SYSTEM_CFLAGS) $(CPPFLAGS) -S -o $$out/s -x c - >/dev/null 2>&1 || \
	echo $(1); rm -r $$out)
LACKED := $(if $(PORTABLE),$(COMPAT_NAMES),$(if $(filter posix,$(KIND)), \
	$(foreach name,$(COMPAT_NAMES),$(call lacks,$(name)))))
COMPAT = $(LACKED) $(if $(LACKED),flags)
ifeq ($(KIND),posix)
COMPAT_CFLAGS = -include modes/lib/compat/compat.h $(LACKED:%=-DLACKS_%)
endif

# The shim of the tests, and the test of the sandbox, are for Linux.
SHIM = $(if $(filter Linux,$(SYSTEM)),$(OBJ)/t/shim.so)
UNITS = $(filter-out t/shim.c $(if $(filter posix,$(KIND)),t/sandbox.c), \
	$(wildcard t/*.c))
OBJECTS = $(SOURCES:%.c=$(OBJ)/%.o)
PROGRAM = $(OUT)/echo
LINKS = echo_server echo_client echo_ports echo_check echo_bench echo_faulty
TESTS = $(UNITS:t/%.c=$(OBJ)/t/%)

# A line for each file; nothing with -s; the commands with V=1, and if CFLAGS are
# given, because a package is checked by the flags in the log of its build.
V ?= $(if $(filter command environment,$(origin CFLAGS)),1)
ifeq (,$(findstring s,$(firstword -$(MAKEFLAGS)))$(filter-out 0,$(V)))
say = @printf '  %-4s %s\n' $(1) $@;
endif

all: $(PROGRAM) $(LINKS:%=$(OUT)/%) $(TESTS) $(SHIM)

$(PROGRAM): $(OBJECTS)
	$(call say,LD)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(OBJECTS) $(LDLIBS)

$(LINKS:%=$(OUT)/%): $(PROGRAM)
	$(call say,LN)ln -sf echo $@

$(OBJ)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(ALL_CFLAGS) -c -o $@ $<

# A unit test is linked with the file that it tests.
$(OBJ)/t/conn: $(OBJ)/modes/serve/conn.o
$(OBJ)/t/flow: $(OBJ)/modes/bench/flow.o $(OBJ)/modes/bench/payload.o \
	$(OBJ)/modes/bench/pattern.o
$(OBJ)/t/histogram: $(OBJ)/modes/bench/histogram.o
$(OBJ)/t/proxy: $(OBJ)/modes/serve/proxy.o
$(OBJ)/t/ring: $(OBJ)/modes/serve/ring.o $(OBJ)/modes/lib/net.o \
	$(OBJ)/modes/lib/net_$(KIND).o
$(OBJ)/t/sandbox: $(OBJ)/modes/serve/sandbox.o
$(OBJ)/t/schedule: $(OBJ)/modes/bench/schedule.o $(OBJ)/modes/bench/search.o \
	$(OBJ)/modes/bench/histogram.o
$(TESTS): $(OBJ)/t/%: $(OBJ)/t/%.o $(COMPAT:%=$(OBJ)/modes/lib/compat/%.o)
	$(call say,LD)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

# What the tests preload stands inside malloc: it is neither instrumented nor
# fortified itself, and takes the place of functions of Linux.
bare = $(filter-out -fsanitize% -fno-sanitize% --coverage \
	$(COMPAT_CFLAGS),$(1))
$(SHIM): t/shim.c Makefile
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(call bare,$(ALL_CFLAGS)) -fPIC -U_FORTIFY_SOURCE \
	    -shared $(call bare,$(LDFLAGS)) -o $@ $< $(LDLIBS) -ldl

.SECONDARY:

-include $(OBJECTS:.o=.d) $(TESTS:=.d) $(SHIM:.so=.d)

demo: all
	@contrib/demo $(PROGRAM)

# Records make demo as an animated image. Port 10000 must be free.
record: all
	@doc/record $(PROGRAM) >$(OBJ)/demo.svg
	@cp $(OBJ)/demo.svg doc/demo.svg

# All tests, or those that T names. Most tests wait most of the time, so fourteen
# run at once. The longest start first, so that none is left alone at the end.
# Left out is the build of the package for Debian: make T=t/95-debian.t test.
T = $(filter-out t/95-debian.t,$(sort $(wildcard t/*.t)))
LONGEST = t/80-check.t t/86-check-client.t t/42-timeouts.t t/88-check-udp.t \
	t/81-diagnosis.t t/85-bench.t t/88-check-faulty.t t/56-shim.t \
	t/83-check-start.t t/45-udp.t t/82-faulty.t t/89-bench-rate.t \
	t/61-send-udp.t t/98-servers.t t/30-many.t t/38-timeouts.t \
	t/26-bulk-rules.t t/89-bench-udp.t t/99-changing.t t/40-stop.t \
	t/55-faults.t t/47-uring.t t/60-send.t t/35-workers.t t/57-network.t \
	t/15-options.t t/43-reset.t t/45-slow.t t/90-readme.t \
	t/84-check-direct.t t/87-faulty-udp.t t/25-bulk.t t/53-descriptors.t \
	t/05-smoke.t t/44-full-buffers.t t/66-json.t t/62-unix.t
JOBS = 14
test check: all
	@ECHO_DIR=$(OUT) $(PROVE) -j$(JOBS) $(filter $(T),$(LONGEST)) \
	    $(filter-out $(LONGEST),$(T))

# The structure of the sources, the unit tests, options and help, and what each
# mode does first.
QUICK = t/00-conn.t t/02-sandbox.t t/03-proxy.t \
	t/04-ring.t t/05-histogram.t t/05-smoke.t t/06-flow.t \
	t/10-dispatch.t t/15-options.t t/20-echo.t t/25-bulk.t \
	t/50-rough.t t/91-structure.t t/92-manual.t
check-quick: T = $(QUICK)
check-quick: test

# How fast, next to others: writes doc/speed, in 45 minutes. In MEASURE may be
# --quick, which only shows that all of it runs, and --udp, for the rows of UDP.
YARDSTICK = $(OBJ)/doc/yardstick $(OBJ)/doc/yardstick-udp
$(YARDSTICK): %: %.o
	$(call say,LD)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)
bench: all $(YARDSTICK)
	@doc/measure $(MEASURE)

# The figures of doc/servers.
plot: all
	@doc/plot --measure $(MEASURE)

# Repeats the tests of faults more often, and then tries seeded faults (t/shim.c)
# on every engine for TORTURE seconds.
TORTURE = 60
torture: all
	@ECHO_TORTURE=1 ECHO_DIR=$(OUT) $(PROVE) t/55-faults.t
	@ECHO_DIR=$(OUT) t/torture $(TORTURE)

# Fuzz targets (t/fuzz) with what each is about, by libFuzzer, for so many
# seconds in all.
FUZZ_TIME = 60
FUZZ_CC = clang
FUZZ_FLAGS = -std=c11 -D_GNU_SOURCE -I. $(WARNINGS) -O1 -g \
	-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
FUZZERS = $(patsubst t/fuzz/%.c,$(OBJ)/fuzz/%,$(wildcard t/fuzz/*.c))
$(OBJ)/fuzz/conn: modes/serve/conn.c t/conn.h
$(OBJ)/fuzz/args: modes/lib/args.c modes/lib/net.c modes/lib/net_linux.c \
	modes/lib/program_linux.c modes/lib/text.c
$(OBJ)/fuzz/args: FUZZ_FLAGS += -Wl,--wrap=errx,--wrap=getaddrinfo
$(OBJ)/fuzz/flow: modes/bench/flow.c modes/bench/payload.c \
	modes/bench/pattern.c
$(OBJ)/fuzz/text: modes/lib/text.c
$(OBJ)/fuzz/control: modes/serve/control.c modes/serve/control_v4_pktinfo.c
$(OBJ)/fuzz/proxy: modes/serve/proxy.c t/proxy.h
$(OBJ)/fuzz/%: t/fuzz/%.c $(wildcard modes/*.h modes/*/*.h) Makefile | can_fuzz
	@mkdir -p $(@D)
	$(call say,LD)$(FUZZ_CC) $(FUZZ_FLAGS) -o $@ $(filter %.c,$^)

can_fuzz:
	@mkdir -p $(OBJ)/fuzz
	@echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void)' \
	    '{ return 0; }' | $(FUZZ_CC) -fsanitize=fuzzer,address -x c - \
	    -o $(OBJ)/fuzz/can 2>/dev/null || { echo 'make fuzz: no clang' \
	    'with libFuzzer here (Debian: clang, and libclang-rt-NN-dev for' \
	    'its version NN)' >&2; exit 1; }

fuzz: $(FUZZERS)
	@for fuzzer in $(FUZZERS); do \
	    $$fuzzer -max_total_time=$$(($(FUZZ_TIME) / $(words $(FUZZERS)))) \
	    -timeout=5 -artifact_prefix=$$fuzzer- -print_final_stats=1 \
	    >$$fuzzer.log 2>&1 || { cat $$fuzzer.log; exit 1; }; \
	    echo "  $$fuzzer:" $$(sed -n 's/.*executed_units: *//p' \
	    $$fuzzer.log) inputs; done

# The tests of the program, which then looks at every access it makes. Left out
# are t/9*, which test documents and packages or run the program in ways that
# other tests do, too, and t/15-options.t: seven hundred runs with wrong options,
# whose values t/fuzz/args parses with the same sanitizers.
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
asan:
	$(MAKE) OUT=build/asan V='$(V)' HARDENING= CFLAGS='-O1 -g $(SANITIZE)' \
	    LDFLAGS='$(SANITIZE)' T='$(filter-out t/9% t/15%,$(T))' test

# The program for other systems, as far as zig has their libraries.
ZIG = zig
CROSS = aarch64-macos x86_64-macos
SYSTEM_macos = Darwin
SYSTEM_freebsd = FreeBSD
SYSTEM_netbsd = NetBSD
cross: $(CROSS:%=cross-%)
cross-%:
	$(MAKE) SYSTEM=$(SYSTEM_$(lastword $(subst -, ,$*))) CC='$(ZIG) cc \
	    -target $*' OUT=build/cross/$* build/cross/$*/echo

# One file that needs nothing where it runs. Not with glibc, whose look-ups of
# names load libraries all the same. The headers of the kernel come from where
# the system has them; it is musl's FD_SET that warns of signs; and as musl is
# built without CET, the whole has none.
STATIC_CC ?= musl-gcc
STATIC_CFLAGS ?= -Os -flto -flto-partition=one -fno-pie -fno-jump-tables \
	-fno-asynchronous-unwind-tables \
	$(call can,-fcf-protection=none) -Wno-sign-conversion
STATIC_LDFLAGS ?= -static -no-pie -s \
	-Wl,--gc-sections,-z,noseparate-code,-z,norelro
KERNEL_HEADERS = -idirafter /usr/include \
	-idirafter /usr/include/$(shell $(CC) -print-multiarch)
static:
	$(MAKE) OUT=$(OBJ)/static V='$(V)' CC='$(STATIC_CC)' \
	    CFLAGS='$(STATIC_CFLAGS) $(KERNEL_HEADERS)' \
	    LDFLAGS='$(STATIC_LDFLAGS)' $(OBJ)/static/echo

# The program as valgrind runs it, under all its names, and the shortest tests.
# What it finds goes into the log, which a test that ends a server looks at. It
# makes calls of its own, and so does a program that counts (coverage), which
# the sandbox does not know. valgrind 3.19 itself reports pselect6(sig), and makes
# the call fail, if a signal comes just before pselect(2) waits; then run it again.
VALGRIND = valgrind -q --error-exitcode=99 --leak-check=full \
	--errors-for-leak-kinds=definite
valgrind: all
	@mkdir -p $(OBJ)/valgrind
	@printf '#!/bin/sh\nexec $(VALGRIND) %s/$$(basename "$$0") "$$@"\n' \
	    '$(abspath $(OUT))' >$(OBJ)/valgrind/echo
	@chmod +x $(OBJ)/valgrind/echo
	@for link in $(LINKS); do ln -sf echo $(OBJ)/valgrind/$$link; done
	@ln -sfn $(abspath $(OBJ)) $(OBJ)/valgrind/build
	ECHO_SERVE=--no-sandbox ECHO_DIR=$(OBJ)/valgrind \
	    $(PROVE) t/05-smoke.t

# Measures which lines the tests run, with a program that counts them. A process
# that is killed or calls _exit(2) counts nothing. The tests of the sandbox, of
# --user and of the size of the program fail with such a program, which does not
# matter.
COVERAGE = 90
coverage:
	rm -rf build/coverage
	-ECHO_SERVE=--no-sandbox $(MAKE) CC=gcc OUT=build/coverage \
	    HARDENING= LDFLAGS=--coverage CFLAGS='-O0 -g --coverage' test
	t/coverage build/coverage/build $(COVERAGE)

# clang-tidy takes seconds for a large file: one process for each processor,
# and the largest files first.
LINTED = $(SOURCES) $(wildcard t/*.c t/fuzz/*.c doc/*.c)
lint:
	@if command -v cppcheck >/dev/null; then set -x; \
	    cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr \
	    --enable=warning,style,performance,portability \
	    --suppress=missingIncludeSystem --suppress=variableScope \
	    -D_GNU_SOURCE -I. \
	    $(LINTED); \
	else echo 'lint: no cppcheck here'; fi
	@if command -v clang-tidy >/dev/null; then set -x; \
	    ls -S $(LINTED) | xargs -n 1 -P "$$(getconf _NPROCESSORS_ONLN)" sh -c 'clang-tidy \
	    --quiet --warnings-as-errors="*" "$$0" -- -std=c11 \
	    -D_GNU_SOURCE -I. $(TIDY_FLAGS) 2>/dev/null'; \
	else echo 'lint: no clang-tidy here'; fi

# The texts that README names, and their figures. The scripts in doc need the
# tree, and remain there.
DOCS = CHANGELOG LICENSE README
TEXTS = doc/changing doc/demo.svg doc/engines.svg doc/others doc/promises \
	doc/scaling doc/servers doc/speed
SYSTEMD_UNITS = $(notdir $(wildcard contrib/systemd/*))
INSTALLED_DIRS = $(bindir) $(libexecdir)/echo $(mandir)/man1 $(docdir)/doc \
	$(bashcompdir) $(zshcompdir)
INSTALLED = $(LINKS:%=$(bindir)/%) $(libexecdir)/echo/echo \
	$(LINKS:%=$(mandir)/man1/%.1) $(DOCS:%=$(docdir)/%) \
	$(TEXTS:%=$(docdir)/%) $(LINKS:%=$(bashcompdir)/%) \
	$(zshcompdir)/_echo_server $(SYSTEMD_UNITS:%=$(systemdsystemunitdir)/%)

# The program is not installed as "echo" where a shell looks for commands:
# scripts and xargs(1) mean the other one.
install: all
	$(INSTALL) -d $(INSTALLED_DIRS:%=$(DESTDIR)%)
	$(INSTALL) -m 755 $(PROGRAM) $(DESTDIR)$(libexecdir)/echo/echo
	for link in $(LINKS); do \
	    $(LN_SR) $(DESTDIR)$(libexecdir)/echo/echo \
	    $(DESTDIR)$(bindir)/$$link || exit; done
	$(INSTALL) -m 644 $(LINKS:%=man/%.1) $(DESTDIR)$(mandir)/man1
	$(INSTALL) -m 644 $(DOCS) $(DESTDIR)$(docdir)
	$(INSTALL) -m 644 $(TEXTS) $(DESTDIR)$(docdir)/doc
	for link in $(LINKS); do $(INSTALL) -m 644 contrib/completions/bash \
	    $(DESTDIR)$(bashcompdir)/$$link || exit; done
	$(INSTALL) -m 644 contrib/completions/zsh \
	    $(DESTDIR)$(zshcompdir)/_echo_server

# The units name the program in /usr/local/bin, as they stand in contrib.
install-systemd:
	$(INSTALL) -d $(DESTDIR)$(systemdsystemunitdir)
	for unit in $(SYSTEMD_UNITS); do \
	    to=$(DESTDIR)$(systemdsystemunitdir)/$$unit; \
	    sed 's,/usr/local/bin/,$(bindir)/,' contrib/systemd/$$unit >$$to && \
	    chmod 644 $$to || exit; done

uninstall:
	rm -f $(INSTALLED:%=$(DESTDIR)%)
	for dir in $(libexecdir)/echo $(docdir)/doc $(docdir); do \
	    rmdir $(DESTDIR)$$dir 2>/dev/null || :; done

# A tarball whose bytes depend on the files in it alone: all that git knows or,
# where git cannot say, as in the tarball itself, all that is not built.
VERSION = $(shell sed -n 's/^.define ECHO_VERSION "\(.*\)".*/\1/p' modes/mode.h)
TARBALL = $(OUT)/echo-$(VERSION).tar
SOURCE_DATE_EPOCH ?= $(shell test -e .git && \
	git log -1 --format=%ct 2>/dev/null || \
	perl -e 'print((stat shift)[9])' Makefile)
dist:
	{ test -e .git && git ls-files 2>/dev/null || find . -type f \
	    ! -path './build/*' ! -path './.git*/*' ! -path ./echo \
	    ! -name '*.tar*' | sed 's,^\./,,'; } | LC_ALL=C sort | \
	    doc/tarball echo-$(VERSION) $(SOURCE_DATE_EPOCH) >$(TARBALL)
	gzip -9nf $(TARBALL)

clean:
	rm -rf $(OBJ) $(PROGRAM) $(LINKS:%=$(OUT)/%)

.PHONY: all asan bench can_fuzz check check-quick clean coverage cross demo dist \
    fuzz install install-systemd lint plot record static test torture uninstall \
    valgrind
