# make            the program and its links, here
# make test       its tests (or: prove t/)
# make demo, bench, asan, lint, install, uninstall, clean: see README

CC ?= cc
CFLAGS ?= -O2 -g
PREFIX ?= /usr/local
EXEC_PREFIX ?= $(PREFIX)
bindir ?= $(EXEC_PREFIX)/bin
libexecdir ?= $(EXEC_PREFIX)/libexec
INSTALL ?= install
LN_SR ?= ln -srf
PROVE ?= prove

# Where the program and its links go, and what the compiler leaves behind.
OUT = .
OBJ = $(OUT)/build

WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
	-Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wcast-align \
	-Wundef -Wvla -Wwrite-strings

# What this compiler lacks for this machine is left out.
can = $(shell $(CC) $(1) -Werror -S -o /dev/null -x c /dev/null \
	>/dev/null 2>&1 && echo '$(1)')
HARDENING := -fstack-protector-strong $(call can,-fstack-clash-protection) \
	$(call can,-fcf-protection)
# It needs -O, and a packager's own level goes before ours.
ifneq (,$(filter -O1 -O2 -O3 -Os,$(CFLAGS)))
ifeq (,$(findstring FORTIFY,$(CPPFLAGS) $(CFLAGS)))
HARDENING += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
endif
endif

ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -I. -MMD -MP -fPIE $(WARNINGS) \
	$(HARDENING) $(CPPFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(LDFLAGS)

SOURCES = echo.c $(wildcard modes/*.c)
UNITS = $(wildcard t/*.c)
OBJECTS = $(SOURCES:%.c=$(OBJ)/%.o)
PROGRAM = $(OUT)/echo
LINKS = echo_server echo_client echo_ports echo_check echo_bench
TESTS = $(UNITS:t/%.c=$(OBJ)/t/%)

# A line a file, unless V=1 asks for the commands, or -s for nothing.
ifeq (,$(findstring s,$(firstword -$(MAKEFLAGS)))$(V))
say = @printf '  %-4s %s\n' $(1) $@;
endif

all: $(PROGRAM) $(LINKS:%=$(OUT)/%) $(TESTS)

$(PROGRAM): $(OBJECTS)
	$(call say,LD)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(OBJECTS) $(LDLIBS)

$(LINKS:%=$(OUT)/%): $(PROGRAM)
	$(call say,LN)ln -sf echo $@

$(OBJ)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(ALL_CFLAGS) -c -o $@ $<

# A unit test is linked with what it is about: t/conn.c with modes/conn.c.
$(OBJ)/t/%: $(OBJ)/t/%.o $(OBJ)/modes/%.o
	$(call say,LD)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

.SECONDARY:

-include $(OBJECTS:.o=.d) $(TESTS:=.d)

demo: all
	@contrib/demo $(PROGRAM)

# The one that waits most goes first, the others beside it.
LONGEST = t/80-check.t
test check: all
	@ECHO_DIR=$(OUT) $(PROVE) -j4 $(LONGEST) \
	    $(filter-out $(LONGEST),$(sort $(wildcard t/*.t)))

# How fast, next to others: writes doc/speed, in half an hour. In MEASURE may
# be --quick, which only shows that all of it runs.
YARDSTICK = $(OBJ)/doc/yardstick
$(YARDSTICK): $(YARDSTICK).o
	$(call say,LD)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)
bench: all $(YARDSTICK)
	@doc/measure $(MEASURE)

# The same tests, with a program that looks at every access it makes.
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
asan:
	$(MAKE) OUT=build/asan HARDENING= CFLAGS='-O1 -g $(SANITIZE)' \
	    LDFLAGS='$(SANITIZE)' test

lint:
	@if command -v cppcheck >/dev/null; then set -x; \
	    cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr \
	    --enable=warning,style,performance,portability \
	    --suppress=missingIncludeSystem --suppress=variableScope \
	    -D_GNU_SOURCE -I. \
	    $(SOURCES) $(UNITS) doc/yardstick.c; \
	else echo 'lint: no cppcheck here'; fi
	@if command -v clang-tidy >/dev/null; then set -x; \
	    clang-tidy --quiet --warnings-as-errors="*" $(SOURCES) $(UNITS) \
	    doc/yardstick.c -- \
	    -std=c11 -D_GNU_SOURCE -I. 2>/dev/null; \
	else echo 'lint: no clang-tidy here'; fi

# The program is not installed as "echo" where a shell looks for commands:
# scripts and xargs(1) mean the other one.
install: all
	$(INSTALL) -d $(DESTDIR)$(libexecdir)/echo $(DESTDIR)$(bindir)
	$(INSTALL) -m 755 $(PROGRAM) $(DESTDIR)$(libexecdir)/echo/echo
	for link in $(LINKS); do \
	    $(LN_SR) $(DESTDIR)$(libexecdir)/echo/echo \
	    $(DESTDIR)$(bindir)/$$link || exit; done

uninstall:
	cd $(DESTDIR)$(bindir) && rm -f $(LINKS)
	rm -f $(DESTDIR)$(libexecdir)/echo/echo
	rmdir $(DESTDIR)$(libexecdir)/echo 2>/dev/null || :

clean:
	rm -rf $(OBJ) $(PROGRAM) $(LINKS:%=$(OUT)/%)

.PHONY: all asan bench check clean demo install lint test uninstall
