# SPDX-License-Identifier: Apache-2.0
#
# Fuzz targets (clang's libFuzzer, with address and undefined-behaviour
# sanitizers).  To add one, write tests/fuzz/fuzz_X.c with
# LLVMFuzzerTestOneInput(), put a few small inputs below tests/fuzz/corpus/X/
# and say in your folder's fragment, which is included before this one:
#
#     FUZZ_TARGETS += X
#     FUZZ_SRCS_X := folder/parser.c $(PROTO_GEN_SRCS)   # what X calls
#
# Inputs that find something new are kept below $(BUILD)/fuzz/corpus/X/, so a
# later run starts where this one ended.  A crash prints how to repeat it.
#
#   FUZZ_SECONDS=60   time of each target
#   FUZZ_SEED=7       repeats a run (0: another each time)
#   FUZZ=X            this target only
FUZZ_TARGETS += frame envelope config_file service_id endpoint daemon
FUZZ_SRCS_frame := proto/frame.c
FUZZ_SRCS_envelope := proto/frame.c $(PROTO_GEN_SRCS)
FUZZ_SRCS_config_file := proto/daemon/config_file.c proto/daemon/config_value.c
FUZZ_SRCS_service_id := ofp-ext/service_id.c
FUZZ_SRCS_endpoint := proto/endpoint.c
FUZZ_SRCS_daemon := proto/daemon/control.c proto/daemon/control_text.c \
    proto/daemon/metrics_server.c proto/channel.c proto/channel_connect.c \
    proto/channel_listen.c proto/tls.c proto/endpoint.c proto/frame.c \
    $(PROTO_GEN_SRCS)

# `make fuzz` explores from another seed each time; `make check` starts from
# one seed, so that a change that it stops was not stopped by chance.
FUZZ_SECONDS ?= 60
FUZZ_SEED ?= 0
FUZZ ?= $(FUZZ_TARGETS)
FUZZ_DIR := $(BUILD)/fuzz
FUZZ_PROGRAMS := $(FUZZ_TARGETS:%=$(FUZZ_DIR)/fuzz_%)
FUZZ_SAN := address,undefined
FUZZ_CFLAGS := -std=gnu11 -O1 -g -fno-omit-frame-pointer -Wall -Werror \
               -Wno-unknown-warning-option -fno-sanitize-recover=all

$(FUZZ_DIR)/obj/%.o: %.c Makefile $(lastword $(MAKEFILE_LIST)) \
    | $(OVS_STAMP) $(PROTO_HEADER)
	$(call say,FUZZ-CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) $(FUZZ_CFLAGS) \
	    -fsanitize=fuzzer-no-link,$(FUZZ_SAN) -MMD -MP -c $< -o $@

# One rule a target, because each has its own sources.
define fuzz_program
$(FUZZ_DIR)/fuzz_$(1): $(FUZZ_DIR)/obj/tests/fuzz/fuzz_$(1).o \
    $(FUZZ_SRCS_$(1):%.c=$(FUZZ_DIR)/obj/%.o)
	$$(call say,FUZZ-LD,$$@)
	$$(Q)$$(CLANG) -fsanitize=fuzzer,$$(FUZZ_SAN) $$^ -Wl,--as-needed \
	    $$(LIBS) -o $$@
endef
$(foreach target,$(FUZZ_TARGETS),$(eval $(call fuzz_program,$(target))))

CHECKS += check-fuzz
CHECKS_BESIDE += check-fuzz

fuzz: $(FUZZ:%=$(FUZZ_DIR)/fuzz_%) ## feed parsers with mutations (FUZZ_SECONDS=60, FUZZ=name)
	@tests/fuzz/run-fuzz.sh $(FUZZ_DIR) $(FUZZ_SECONDS) $(FUZZ_SEED) $(FUZZ)

check-fuzz: $(FUZZ_PROGRAMS) ## the same for 5 seconds each
	@tests/fuzz/run-fuzz.sh $(FUZZ_DIR) 5 1 $(FUZZ_TARGETS)

.PHONY: fuzz check-fuzz
-include $(shell find $(FUZZ_DIR)/obj -name '*.d' 2>/dev/null)
