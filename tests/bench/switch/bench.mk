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
