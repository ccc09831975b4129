# SPDX-License-Identifier: Apache-2.0
#
# Long tests of the patched Open vSwitch.  ovs-patches/ovs.mk includes this.
OVS_TESTS := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))

.PHONY: check-ovs check-ovs-ports check-ovs-unpatched check-ovs-native
.PHONY: ovs-native fuzz-ovs ovs-deb
check-ovs: $(OVS_STAMP) ovs-pristine ## the upstream suite, patched against pristine (JOBS=N, about 10 minutes a tree)
	@$(OVS_TESTS)/check-ovs.sh $(OVS_BUILD) $(OVS_PRISTINE_DIR) $(OVS_BUILD)/check-ovs

CHECKS += check-ovs-ports
check-ovs-ports: $(OVS_STAMP) ## SAL through AF_PACKET, AF_XDP and TSO ports, with all caches
	@$(PYTHON) -B $(OVS_TESTS)/check_ports.py $(OVS_PREFIX)

check-ovs-unpatched: $(OVS_STAMP) ovs-pristine ## an unpatched switch refuses SAL fields properly
	@unshare -n $(OVS_TESTS)/check-unpatched.sh $(OVS_PREFIX) \
	    $(OVS_PRISTINE_DIR)/ovs

# For this CPU: with SSE4.2 Open vSwitch has its AVX512 code as well.
OVS_NATIVE_DIR := $(OVS_BUILD)/ovs-native
OVS_NATIVE_STAMP := $(OVS_NATIVE_DIR)/ovs/.key-$(OVS_KEY)
ovs-native: $(OVS_NATIVE_STAMP) ## the patched Open vSwitch with SSE4.2, POPCNT, and AVX512 where it helps

$(OVS_NATIVE_STAMP):
	@OVS_TARBALL=$(OVS_TARBALL) V=$(V) OVS_OPT="-O2 -g0 -msse4.2 -mpopcnt" \
	    $(OVS_PATCHES)/build-ovs.sh $(OVS_KEY) $(OVS_NATIVE_DIR)

check-ovs-native: $(OVS_NATIVE_STAMP) ## SAL with the optimized code of Open vSwitch: autotests, ports
	@$(OVS_PATCHES)/check-sal.sh $(OVS_NATIVE_DIR)
	@$(PYTHON) -B $(OVS_TESTS)/check_ports.py $(OVS_NATIVE_DIR)/ovs af_xdp

FUZZ_SECONDS ?= 180
fuzz-ovs: $(OVS_STAMP) ## Open vSwitch's fuzz targets with SAL in their corpus (FUZZ_SECONDS=180 each)
	@$(OVS_TESTS)/fuzz-ovs.sh $(OVS_BUILD) $(FUZZ_SECONDS)

ovs-deb: ## Debian packages of the patched Open vSwitch
	@mkdir -p $(OVS_BUILD)
	@OVS_TARBALL=$(OVS_TARBALL) $(OVS_TESTS)/ovs-deb.sh $(OVS_BUILD)
