# SPDX-License-Identifier: Apache-2.0
#
# Long tests of the patched Open vSwitch.  ovs-patches/ovs.mk includes this.
OVS_TESTS := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))

.PHONY: check-ovs fuzz-ovs ovs-deb
check-ovs: $(OVS_STAMP) ovs-pristine ## the upstream suite, patched against pristine (JOBS=N, about 10 minutes a tree)
	@$(OVS_TESTS)/check-ovs.sh $(OVS_BUILD) $(OVS_PRISTINE_DIR) $(OVS_BUILD)/check-ovs

FUZZ_SECONDS ?= 180
fuzz-ovs: $(OVS_STAMP) ## Open vSwitch's fuzz targets with SAL in their corpus (FUZZ_SECONDS=180 each)
	@$(OVS_TESTS)/fuzz-ovs.sh $(OVS_BUILD) $(FUZZ_SECONDS)

ovs-deb: ## Debian packages of the patched Open vSwitch
	@mkdir -p $(OVS_BUILD)
	@OVS_TARBALL=$(OVS_TARBALL) $(OVS_TESTS)/ovs-deb.sh $(OVS_BUILD)
