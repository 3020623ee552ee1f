# Salvage. `make` builds, `make demo` shows, `make test` tests; docs/architecture.md tells the layers.
# Sources are found by folder: a new core/x.c or test/unit/x.c needs no line here.

CC       ?= gcc
BUILD    ?= build
PREFIX   ?= /usr/local
DESTDIR  ?=
ARCH     := $(shell uname -m)

WARN     := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
            -Wno-sign-conversion -Werror
CSTD     := -std=gnu17 -D_GNU_SOURCE
OPT      ?= -O2 -g
LIBFLAGS := -fPIC -fvisibility=hidden -ftls-model=initial-exec -fno-builtin -fno-strict-aliasing \
            -fno-semantic-interposition -fcf-protection=none -fno-plt
CFLAGS_ALL := $(CSTD) $(OPT) $(WARN) -Icore -Iscanners -Ipreload -Ipreload/include

layer = $(filter-out %_generic.c,$(wildcard $(1)/*.c)) $(wildcard $(1)/*_$(ARCH).S)
CORE     := $(call layer,core)
SCANNERS := $(call layer,scanners)
PRELOAD  := $(call layer,preload)
obj = $(patsubst %,$(BUILD)/%.o,$(1))

UNIT     := $(patsubst test/unit/%.c,$(BUILD)/test/unit/%,$(wildcard test/unit/*.c))
CASES    := $(patsubst test/preload/%.c,$(BUILD)/test/preload/%,$(wildcard test/preload/*.c))

.PHONY: all demo test check-fast test-programs bench lint install clean deps unit cases
.DELETE_ON_ERROR:

all: $(BUILD)/libsalvage.so

$(BUILD)/%.c.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(LIBFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/%.S.o: %.S
	@mkdir -p $(@D)
	$(CC) $(LIBFLAGS) -c $< -o $@

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
