# SPDX-License-Identifier: Apache-2.0
#
# Speed of the switch: see README.md of this folder.
BENCH_SWITCH_SRC := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))

# The same Open vSwitch without the series, to compare with.
OVS_PRISTINE_DIR := $(OVS_BUILD)/ovs-pristine
OVS_PRISTINE_KEY := $(shell cat $(OVS_PATCHES)/build-ovs.sh $(OVS_TARBALL) \
                      2>/dev/null | sha256sum | cut -c1-16)
OVS_PRISTINE_STAMP := $(OVS_PRISTINE_DIR)/ovs/.key-$(OVS_PRISTINE_KEY)

.PHONY: ovs-pristine
ovs-pristine: $(OVS_PRISTINE_STAMP) ## Open vSwitch without the patches, for comparisons

$(OVS_PRISTINE_STAMP):
	@OVS_TARBALL=$(OVS_TARBALL) OVS_PRISTINE=1 V=$(V) \
	    $(OVS_PATCHES)/build-ovs.sh $(OVS_PRISTINE_KEY) $(OVS_PRISTINE_DIR)

# Programs.  What belongs to a tree is compiled against that tree's headers:
# struct flow is not the same in both.
BENCH_SWITCH := $(BUILD)/bench/switch
BENCH_SWITCH_TREES := patched pristine
BENCH_SWITCH_PROGRAMS := $(BENCH_SWITCH)/workload \
    $(BENCH_SWITCH_TREES:%=$(BENCH_SWITCH)/vswitchd-%) \
    $(BENCH_SWITCH_TREES:%=$(BENCH_SWITCH)/extract-%)

bench_obj_patched := $(OVS_OBJ)
bench_src_patched := $(OVS_SRC)
bench_stamp_patched := $(OVS_STAMP)
bench_obj_pristine := $(OVS_PRISTINE_DIR)/ovs-build
bench_src_pristine := $(OVS_PRISTINE_DIR)/ovs-src
bench_stamp_pristine := $(OVS_PRISTINE_STAMP)

# $(call bench_compile,TREE): without sanitizers, as these would be measured.
bench_compile = $(CC) -std=gnu11 -O2 $(WARN) -include $(bench_obj_$(1))/config.h \
    $(patsubst %,-I$(bench_obj_$(1))%,/ /include /lib) \
    $(patsubst %,-I$(bench_src_$(1))%,/include /lib /)
# $(call bench_link,TREE,ARCHIVES)
bench_link = -Wl,--start-group $(patsubst %,$(bench_obj_$(1))/%,$(2)) \
    -Wl,--end-group -latomic -lnuma -lxdp -lbpf -lm -lunbound -lssl -lcrypto \
    -lcap-ng -lpthread
bench_libs := lib/.libs/libopenvswitch.a lib/.libs/libopenvswitchavx512.a
bench_vswitchd := vswitchd/ovs-vswitchd.o vswitchd/bridge.o \
    vswitchd/system-stats.o ofproto/.libs/libofproto.a lib/.libs/libsflow.a

define bench_switch_tree
$(BENCH_SWITCH)/vswitchd-$(1): $(BENCH_SWITCH_SRC)/netdev_bench.c \
    $(bench_stamp_$(1))
	$$(call say,CC,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(call bench_compile,$(1)) $$< -Wl,--wrap=bridge_init \
	    $$(call bench_link,$(1),$(bench_vswitchd) $(bench_libs)) -o $$@

$(BENCH_SWITCH)/extract-$(1): $(BENCH_SWITCH_SRC)/extract.c $(bench_stamp_$(1))
	$$(call say,CC,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(call bench_compile,$(1)) $$< \
	    $$(call bench_link,$(1),$(bench_libs)) -o $$@
endef
$(foreach tree,$(BENCH_SWITCH_TREES),$(eval $(call bench_switch_tree,$(tree))))

$(BENCH_SWITCH)/workload: $(BENCH_SWITCH_SRC)/workload.c ofp-ext/sal.h \
    ofp-ext/sal_pipeline.h
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -O2 $(WARN) -I. $< -o $@

BENCH_PARTS ?=

.PHONY: bench-switch
bench-switch: $(BENCH_SWITCH_PROGRAMS) ## speed of the switch (BENCH_PARTS="extract plain resolve pick")
	@$(PYTHON) -B $(BENCH_SWITCH_SRC)/bench_switch.py $(BUILD) \
	    $(OVS_BUILD) $(BENCH_PARTS)
