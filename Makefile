# Salvage. `make` builds, `make demo` shows, `make test` tests; docs/architecture.md tells the
# layers. Sources are found by folder: a new core/x.c or test/unit/x.c needs no line here.

ifeq ($(origin CC),default)
CC       := gcc
endif
CXX      ?= g++
BUILD    ?= build
PREFIX   ?= /usr/local
DESTDIR  ?=
ARCH     := $(shell uname -m)
VERSION  := 0.1

WARN     := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
            -Wno-sign-conversion -Werror
CSTD     := -std=gnu17 -D_GNU_SOURCE
OPT      ?= -O2 -g
LIBFLAGS := -fPIC -fvisibility=hidden -ftls-model=initial-exec -fno-builtin -fno-strict-aliasing \
            -fno-semantic-interposition -fcf-protection=none -fno-plt
# -iquote: a header of ours may have the name of one of libc's (assert.h).
INCLUDE  := -iquote core -iquote scanners -iquote preload -iquote preload/boehm -Ipreload/include
DEFINE   := -DSALVAGE_VERSION='"$(VERSION)"'
CFLAGS_ALL := $(CSTD) $(OPT) $(WARN) $(INCLUDE) $(DEFINE)

layer = $(filter-out %_generic.c,$(wildcard $(1)/*.c)) $(wildcard $(1)/*_$(ARCH).S)
CORE     := $(call layer,core)
SCANNERS := $(call layer,scanners)
PRELOAD  := $(call layer,preload) $(call layer,preload/boehm)
COMMAND  := $(wildcard preload/command/*.c)
obj = $(patsubst %,$(BUILD)/%.o,$(1))

UNIT     := $(patsubst test/unit/%.c,$(BUILD)/test/unit/%,$(wildcard test/unit/*.c))
CASES    := $(patsubst test/preload/%.c,$(BUILD)/test/preload/%,$(wildcard test/preload/*.c))

CASES    += $(patsubst test/preload/%.cc,$(BUILD)/test/preload/%,$(wildcard test/preload/*.cc))

.PHONY: all need demo test check-fast test-programs test-boehm bench lint install clean deps unit \
        cases command lint-format lint-tidy lint-cppcheck lint-clang format
.DELETE_ON_ERROR:
.SUFFIXES:

all: $(BUILD)/libsalvage.so $(BUILD)/libgc.so.1 $(BUILD)/libgccpp.so.1 $(BUILD)/salvage

# ---- what has to be installed: named here, installed by test/deps.sh only ----------------------

JEMALLOC := $(shell $(CC) -print-file-name=libjemalloc_pic.a 2>/dev/null)
missing   = $(if $(shell command -v $(CC)),,gcc) $(if $(shell command -v $(CXX)),,g++) \
            $(if $(shell command -v objcopy),,binutils) \
            $(if $(wildcard /usr/include/stdio.h),,libc6-dev) \
            $(if $(filter /%,$(JEMALLOC)),,libjemalloc-dev) \
            $(if $(wildcard /usr/include/ncursesw/curses.h /usr/include/curses.h),,libncurses-dev) \
            $(if $(wildcard /usr/include/elfutils/libdwfl.h),,libdw-dev) \
            $(if $(wildcard /usr/include/libiberty/demangle.h),,libiberty-dev) \
            $(if $(wildcard /usr/include/jansson.h),,libjansson-dev) \
            $(if $(wildcard /usr/include/protobuf-c/protobuf-c.h),,libprotobuf-c-dev) \
            $(if $(shell command -v protoc-c),,protobuf-c-compiler) \
            $(if $(wildcard /usr/include/zlib.h),,zlib1g-dev) \
            $(if $(wildcard /usr/include/libxml2/libxml/xmlwriter.h),,libxml2-dev)
need:
	@m="$(strip $(missing))"; test -z "$$m" || \
	{ echo "make: missing Debian packages: $$m (apt-get install $$m, or: test/deps.sh build)" >&2; \
	exit 1; }

# What the suites of leaks run are large programs: one that can't be had is named by the suite.
deps:
	test/deps.sh build test
	test/deps.sh leaks || true
	test/deps.sh boehm || true

# ---- the library -------------------------------------------------------------------------------

$(BUILD)/%.c.o: %.c | need
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(LIBFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/%.S.o: %.S | need
	@mkdir -p $(@D)
	$(CC) $(LIBFLAGS) -c $< -o $@

# The private jemalloc: the members of the PIC library, without its C++ operators and its control
# tree (a thousand relocations that every program would pay for at start), as one object. Only
# META_FACE can be seen from outside, under meta_ names; what stands in META_LIBC is answered by
# core/metadata.c instead of libc. Its constructor is dropped: it starts at the first allocation.
META_FACE := mallocx:mallocx sdallocx:sdallocx je_jemalloc_postfork_child:postfork_child \
             malloc_conf:conf
META_LIBC := mmap munmap mprotect madvise secure_getenv readlink sysconf syscall sbrk dlsym atexit \
             pthread_atfork pthread_key_create pthread_setspecific close creat exp getpid \
             gettimeofday log open round pthread_cond_signal pthread_cond_timedwait \
             pthread_cond_wait pthread_create \
             pthread_getname_np pthread_join pthread_setname_np pthread_sigmask sched_setaffinity \
             sigfillset
META_CTL  := boot bymib bymibname byname mibnametomib mtx_assert_held nametomib postfork_child \
             postfork_parent prefork
meta_old = $(word 1,$(subst :, ,$(1)))
meta_new = meta_$(word 2,$(subst :, ,$(1)))

$(BUILD)/meta.o: $(JEMALLOC) Makefile | need
	@rm -rf $(BUILD)/meta && mkdir -p $(BUILD)/meta
	cd $(BUILD)/meta && ar x $(JEMALLOC) && rm jemalloc_cpp.pic.o ctl.pic.o && \
	    $(LD) -r -o all.o *.pic.o
	objcopy --strip-debug --remove-section=.init_array --remove-section=.rela.init_array \
	    $(foreach f,$(META_FACE),--redefine-sym=$(call meta_old,$f)=$(call meta_new,$f)) \
	    $(foreach f,$(META_LIBC),--redefine-sym=$f=meta_$f) \
	    $(foreach f,$(META_CTL),--redefine-sym=je_ctl_$f=meta_ctl_$f) \
	    --redefine-sym=_Unwind_Backtrace=meta_Unwind_Backtrace \
	    --redefine-sym=_Unwind_GetIP=meta_Unwind_GetIP $(BUILD)/meta/all.o $(BUILD)/meta/named.o
	objcopy $(foreach f,$(META_FACE),--keep-global-symbol=$(call meta_new,$f)) \
	    $(BUILD)/meta/named.o $@
	@rm -rf $(BUILD)/meta

LIBOBJ := $(call obj,$(CORE) $(SCANNERS) $(PRELOAD)) $(BUILD)/meta.o

# -z now: lazy binding would run the dynamic linker inside malloc. Anything but libc would pull a
# library, with its own mallocs and symbols, into every program: the recipe fails on it.
$(BUILD)/libsalvage.so: $(LIBOBJ) preload/libsalvage.map Makefile
	$(CC) $(OPT) -shared -Wl,-soname,libsalvage.so -Wl,-z,now -Wl,-z,relro -Wl,-z,noexecstack \
	    -Wl,--version-script=preload/libsalvage.map -Wl,--no-undefined -Wl,--as-needed \
	    -o $@ $(LIBOBJ)
	@extra=$$(readelf -dW $@ | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | \
	    grep -vxE 'libc\.so\.6|ld-linux-x86-64\.so\.2'); test -z "$$extra" || \
	{ echo "$@ needs more than libc: $$extra" >&2; exit 1; }

# ---- Boehm's face -------------------------------------------------------------------------------

# The same objects, which show all but malloc and new: those stay the C library's. The face calls
# the wrappers by themselves (-Bsymbolic-functions), since a program that gets the library by way of
# another one binds the C library's names to the C library.
$(BUILD)/libgc.map: preload/libsalvage.map
	@mkdir -p $(@D)
	sed '/# malloc$$/,/# salvage.h$$/d' $< > $@

$(BUILD)/libgc.so.1: $(LIBOBJ) $(BUILD)/libgc.map Makefile
	$(CC) $(OPT) -shared -Wl,-soname,libgc.so.1 -Wl,-Bsymbolic-functions -Wl,-z,now \
	    -Wl,-z,relro -Wl,-z,noexecstack \
	    -Wl,--version-script=$(BUILD)/libgc.map -Wl,--no-undefined -Wl,--as-needed \
	    -o $@ $(LIBOBJ)

$(BUILD)/libgccpp.so.1: preload/boehm/gccpp.cc $(BUILD)/libgc.so.1 Makefile
	$(CXX) $(OPT) -fPIC -Wall -Wextra -Werror -Ipreload/include -shared -Wl,-soname,libgccpp.so.1 \
	    -Wl,-z,now -Wl,-z,relro -o $@ $< $(BUILD)/libgc.so.1

# ---- the command -------------------------------------------------------------------------------

# An ordinary program: libc as everybody has it, and what reports and `top` need.
COMMAND_LIBS  := -lncursesw -ltinfo -ldw -lelf -liberty -ljansson -lprotobuf-c -lxml2 -lz -lm
COMMAND_FLAGS := -iquote preload/command \
                 -isystem $(BUILD)/preload/command -isystem /usr/include/libxml2
PROFILE       := $(BUILD)/preload/command/profile.pb-c

$(BUILD)/preload/command/%.c.o: preload/command/%.c | need
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(COMMAND_FLAGS) -MMD -MP -c $< -o $@

$(PROFILE).c $(PROFILE).h &: preload/command/profile.proto | need
	@mkdir -p $(@D)
	protoc-c --proto_path=$(<D) --c_out=$(@D) $<

$(BUILD)/preload/command/report_pprof.c.o: $(PROFILE).h

$(PROFILE).o: $(PROFILE).c
	$(CC) $(CSTD) $(OPT) -c $< -o $@

$(BUILD)/preload/command/report_html.c.o: preload/command/page.html # .incbin

# All but main, for unit tests of the command's parts as well.
$(BUILD)/command.a: $(call obj,$(filter-out %/main.c,$(COMMAND))) $(PROFILE).o
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/salvage: $(BUILD)/preload/command/main.c.o $(BUILD)/command.a Makefile
	$(CC) $(OPT) -o $@ $< $(BUILD)/command.a $(COMMAND_LIBS)

# ---- tests -------------------------------------------------------------------------------------

# A unit test takes what it needs of core and scanners (and a table of the face) from an archive,
# and interposes nothing.
$(BUILD)/units.a: $(call obj,$(CORE) $(SCANNERS) preload/boehm/table.c) $(BUILD)/meta.o
	@rm -f $@
	ar rcs $@ $^

TESTFLAGS := $(CSTD) -O1 -g -Wall -Wextra $(INCLUDE) -MMD -MP

$(BUILD)/test/unit/%: test/unit/%.c $(BUILD)/units.a
	@mkdir -p $(@D)
	$(CC) $(TESTFLAGS) -fno-builtin -o $@ $< $(BUILD)/units.a -lcriterion -lm -pthread

# Tests of the command's parts are named after it.
$(BUILD)/test/unit/command_%: test/unit/command_%.c $(BUILD)/command.a
	@mkdir -p $(@D)
	$(CC) $(TESTFLAGS) $(COMMAND_FLAGS) -o $@ $< $(BUILD)/command.a -lcriterion $(COMMAND_LIBS)

# A case is a program as anybody would compile it, without the library. Its own lines
# `// CFLAGS: ...` add flags, `// CXX` makes a .c file C++.
case_flags = $(shell sed -n 's,^// CFLAGS: *,,p' $(1))
case_cxx   = $(shell grep -qx '// CXX' $(1) && echo $(CXX) -x c++ || echo $(CC) -std=gnu17)
CASEFLAGS := -O1 -g -Itest/preload -Ipreload/include -MMD -MP

$(BUILD)/test/preload/%: test/preload/%.c | need
	@mkdir -p $(@D)
	$(call case_cxx,$<) $(CASEFLAGS) -D_GNU_SOURCE -o $@ $< $(call case_flags,$<) \
	    -pthread -ldl -lrt

$(BUILD)/test/preload/%: test/preload/%.cc | need
	@mkdir -p $(@D)
	$(CXX) $(CASEFLAGS) -o $@ $< $(call case_flags,$<) -pthread -ldl -lrt

# What test/command.sh asks about: built as anybody would, and no case of its own.
$(BUILD)/test/command/actor: test/command/actor.c | need
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Ipreload/include -o $@ $<

command: all $(BUILD)/test/command/actor
	LIB=$(BUILD)/libsalvage.so test/command.sh

unit: $(UNIT)
	test/run.sh unit $(UNIT)

cases: $(BUILD)/libsalvage.so $(CASES)
	test/run.sh cases $(CASES)

check-fast: unit

# Dependencies first, whatever -j says, and the wildcards above know nothing that deps would bring.
test: deps
	@$(MAKE) --no-print-directory all $(BUILD)/test/command/actor $(UNIT) $(CASES)
	test/run.sh all $(UNIT) $(CASES)

# The programs that use Boehm's collector run on Debian's and on ours.
test-programs: all
	test/programs/all.sh
	test/boehm/clients.sh all

# What Boehm's face promises: programs that run on Debian's library and on ours, names, clients.
test-boehm: all
	test/boehm/run.sh
	test/boehm/symbols.sh
	test/boehm/clients.sh core

bench: $(BUILD)/libsalvage.so
	test/bench/bench.sh

demo:
	test/deps.sh build demo
	@$(MAKE) --no-print-directory all
	test/demo.sh

# ---- how the code reads ------------------------------------------------------------------------

FORMATTED = $(wildcard core/*.[ch] scanners/*.[ch] preload/*.[ch] preload/include/*.h \
            preload/command/*.[ch] \
            test/unit/*.[ch] test/preload/*.[ch] test/preload/*.cc test/preload/lib/*.[ch] \
            test/bench/*.c test/bench/collect/*.[ch] \
            test/leaks/*.[ch] test/leaks/*.cc test/leaks/lib/*.c \
            preload/boehm/*.[ch] preload/boehm/*.cc preload/include/gc/*.h \
            test/boehm/*.[ch] test/boehm/cxx.cc test/boehm/headers/*.c test/boehm/headers/*.cc)
ANALYSED  = $(filter %.c,$(CORE) $(SCANNERS) $(PRELOAD))
ANALYSED_TEST = $(filter-out test/unit/command_%,$(wildcard test/unit/*.c test/preload/*.c \
                test/preload/lib/*.c test/bench/*.c test/bench/collect/*.c test/command/*.c \
                test/leaks/*.c test/leaks/lib/*.c))
ANALYSED_COMMAND = $(COMMAND) $(wildcard test/unit/command_*.c)
LINTFLAGS = $(CSTD) $(WARN) $(INCLUDE) $(DEFINE)
LINTFLAGS_TEST = $(CSTD) -Wall -Wextra $(INCLUDE) -Itest/preload

# Installs nothing: test/deps.sh lint does.
lint: lint-format lint-tidy lint-cppcheck lint-clang

lint-format:
	clang-format --dry-run -Werror $(FORMATTED)

format:
	clang-format -i $(FORMATTED)

# A process a file: clang-tidy 14 carries what it knows of va_list from one file into the next.
lint-tidy: $(PROFILE).h
	@printf '%s\n' $(ANALYSED) | \
	    xargs -I {} -P $$(nproc) clang-tidy --quiet {} -- $(LINTFLAGS) -fno-builtin
	@printf '%s\n' $(ANALYSED_TEST) | \
	    xargs -I {} -P $$(nproc) clang-tidy --quiet {} -- $(LINTFLAGS_TEST)
	@printf '%s\n' $(ANALYSED_COMMAND) | \
	    xargs -I {} -P $$(nproc) clang-tidy --quiet {} -- $(LINTFLAGS) $(COMMAND_FLAGS)

# System headers are left out on purpose: cppcheck knows libc by itself. memleak: our functions that
# hand out memory are not malloc. comparePointers, objectIndex: address arithmetic is this code's
# work. allocaCalled: it would have execl's list a variable array, which -Wvla forbids.
# Of the tests: void pointers count bytes in GNU C; a call whose result isn't looked at is a case;
# nullPointer*: it doesn't know that what CHECK and WITNESS_NEED call ends the process.
lint-cppcheck:
	cppcheck --quiet --std=c11 --language=c --platform=unix64 -D__x86_64__ -D_GNU_SOURCE \
	    --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
	    --suppress=missingInclude --suppress=missingIncludeSystem \
	    --suppress=memleak --suppress=memleakOnRealloc \
	    --suppress=comparePointers --suppress=objectIndex --suppress=allocaCalled \
	    '--suppress=arithOperationsOnVoidPointer:test/*' '--suppress=leakReturnValNotUsed:test/*' \
	    '--suppress=nullPointerRedundantCheck:test/*' \
	    '--suppress=nullPointerArithmeticRedundantCheck:test/*' '--suppress=ctunullpointer:test/*' \
	    '-DElfW(type)=Elf64_##type' '-DTestSuite(...)=' \
	    '-DTest(suite, name, ...)=static void suite##_##name(void)' \
	    -Icore -Iscanners -Ipreload -Ipreload/include -Itest/preload \
	    $(ANALYSED) $(ANALYSED_TEST) $(ANALYSED_COMMAND)

# The other compiler, -Werror included.
lint-clang:
	@$(MAKE) --no-print-directory CC=clang BUILD=$(BUILD)/clang all

SHARE  := $(DESTDIR)$(PREFIX)/share
LIBDIR := $(DESTDIR)$(PREFIX)/lib
HDRDIR := $(DESTDIR)$(PREFIX)/include

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(LIBDIR)/pkgconfig $(HDRDIR)/gc $(SHARE)/doc/salvage \
	    $(SHARE)/man/man1 $(SHARE)/man/man3 $(SHARE)/bash-completion/completions
	install -m 755 $(BUILD)/salvage $(DESTDIR)$(PREFIX)/bin
	install -m 644 docs/man/salvage.1 $(SHARE)/man/man1
	install -m 644 docs/man/libsalvage.3 $(SHARE)/man/man3
	install -m 644 docs/completion/salvage.bash $(SHARE)/bash-completion/completions/salvage
	install -m 644 $(BUILD)/libsalvage.so $(BUILD)/libgc.so.1 $(BUILD)/libgccpp.so.1 $(LIBDIR)
	ln -sf libgc.so.1 $(LIBDIR)/libgc.so
	ln -sf libgccpp.so.1 $(LIBDIR)/libgccpp.so
	sed 's,@PREFIX@,$(PREFIX),' preload/boehm/bdw-gc.pc.in >$(LIBDIR)/pkgconfig/bdw-gc.pc
	chmod 644 $(LIBDIR)/pkgconfig/bdw-gc.pc
	install -m 644 $(wildcard preload/include/*.h) $(HDRDIR)
	install -m 644 $(wildcard preload/include/gc/*.h) $(HDRDIR)/gc
	install -m 644 $(wildcard LICENSE README.md) $(SHARE)/doc/salvage

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -path $(BUILD)/clang -prune -o -name '*.d' -print 2>/dev/null)
