# SPDX-License-Identifier: Apache-2.0
#
# One Makefile, one fragment a folder.  `make help` lists the targets.
#
#   V=1                     show commands
#   SAN=address,undefined   build with sanitizers (into build/san-...)
#   BUILD=build/other       another build folder; Open vSwitch is shared

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

comma := ,
SAN ?=
BUILD ?= build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))
V ?= 0
Q := $(if $(filter 1,$(V)),,@)
say = @printf '  %-7s %s\n' '$(1)' '$(2)'

CC := gcc
CLANG := clang
PYTHON := /usr/bin/python3
OPT ?= -O2
GEN := $(BUILD)/gen

WARN := -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
        -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
        -Wpointer-arith -Wvla
# Open vSwitch's private headers expect its config.h before anything else.
CPPFLAGS += -include $(OVS_OBJ)/config.h -I. -I$(GEN) $(OVS_CFLAGS)
CFLAGS += -std=gnu11 $(OPT) -g -fno-omit-frame-pointer $(WARN) \
          $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all)
LDFLAGS += $(if $(SAN),-fsanitize=$(SAN))

# Each fragment adds its objects, programs, tests.
LIBSALIENT := $(BUILD)/lib/libsalient.a
LIBSALIENT_SRCS := # ofp-ext, proto: what every program shares
PURE :=            # files that must not do I/O (checked)
UNIT_TESTS :=      # programs below $(BUILD)/tests/
PROGRAMS :=
CHECKS :=          # targets that `make check` runs, in this order
CHECKS_BESIDE :=   # of these, what only computes and may run beside others

include ovs-patches/ovs.mk
include ofp-ext/ofp-ext.mk
include proto/proto.mk
include controller/controller.mk
include agents/agents.mk
include topologies/topologies.mk
include tests/tests.mk
include tests/fuzz/fuzz.mk

## General
all: $(PROGRAMS) ## build everything (Open vSwitch too, once)
	@: # Without it make says that there is nothing to be done.

help: ## list the targets
	@awk -F':.*## ' '/^## /{printf "\n%s\n", substr($$0,4)} \
	    /^[a-zA-Z0-9_-]+:.*## /{printf "  %-20s %s\n", $$1, $$2}' \
	    $(MAKEFILE_LIST)

deps: ## install the Debian packages that are missing
	@tests/setup/install-packages.sh

check: deps ## pass all tests
	@$(MAKE) --no-print-directory ovs
	@$(MAKE) --no-print-directory -j$$(nproc) all unit-programs
	@$(MAKE) --no-print-directory run-checks

# What a host or a controller's machine runs.  Configuration that is there
# already stays; nothing is started.
INSTALLED_PROGRAMS := sald salctl salient-controller
install: $(INSTALLED_PROGRAMS:%=$(BUILD)/bin/%) ## programs, systemd units, configuration (DESTDIR=/elsewhere)
	$(Q)install -D -t $(DESTDIR)/usr/bin $^
	$(Q)install -D -m 644 -t $(DESTDIR)/lib/systemd/system \
	    agents/sald.service controller/salient-controller.service
	$(Q)install -D -m 644 -t $(DESTDIR)/usr/share/doc/salient docs/*.md
	$(Q)for file in agents/agent.yaml controller/controller.yaml; do \
	    there=$(DESTDIR)/etc/salient/$${file##*/}; \
	    [ -e $$there ] || install -D -m 644 $$file $$there; \
	done

clean: ## remove what was built, but not Open vSwitch
	$(Q)rm -rf $(BUILD)/obj $(BUILD)/gen $(BUILD)/bin $(BUILD)/lib \
	    $(BUILD)/tests $(BUILD)/bpf $(BUILD)/fuzz

distclean: ## remove the whole build folder
	$(Q)rm -rf build

.PHONY: all help deps check install clean distclean

# Rules that every folder uses.
$(LIBSALIENT): $(LIBSALIENT_SRCS:%.c=$(BUILD)/obj/%.o) $(PROTO_OBJS)
LIBS := $(OVS_LIBS) -luv -lprotobuf-c -lsodium -lyaml -lldns -lsystemd \
        -lnl-route-3 -lnl-3

$(BUILD)/lib/%.a:
	$(call say,AR,$@)
	@mkdir -p $(@D)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/obj/%.o: %.c Makefile | $(OVS_STAMP) $(PROTO_HEADER)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# A program lists its objects and archives as prerequisites.
define link
$(call say,LINK,$@)
@mkdir -p $(@D)
$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -Wl,--as-needed $(filter %.o %.a,$^) $(LIBS) -o $@
endef

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
