# SPDX-License-Identifier: Apache-2.0
#
# The private Open vSwitch: sources from Debian's openvswitch-source, the
# series of this folder on top.  The top Makefile includes this file.
#
#   ovs          build it (cached: the stamp carries a hash of all inputs)
#   check-sal    the SAL autotests of the patched tree
#
# For users of the library: $(OVS_STAMP) is the file to depend on (order-only
# suffices to have the headers), $(OVS_CFLAGS) and $(OVS_LIBS) compile and
# link; $(OVS_PREFIX)/bin and sbin hold the programs.

BUILD ?= build
OVS_PATCHES := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
OVS_TARBALL ?= /usr/src/openvswitch/openvswitch.tar.gz

# A private build folder below build/ (BUILD=build/asan) still shares the one
# Open vSwitch, which takes minutes to build and does not depend on it.
OVS_BUILD := $(if $(filter build/%,$(BUILD)),build,$(BUILD))
OVS_PREFIX := $(OVS_BUILD)/ovs
OVS_SRC := $(OVS_BUILD)/ovs-src
OVS_OBJ := $(OVS_BUILD)/ovs-build

OVS_KEY := $(shell cat $(OVS_PATCHES)/series $(OVS_PATCHES)/*.patch \
             $(OVS_PATCHES)/build-ovs.sh $(OVS_TARBALL) 2>/dev/null \
             | sha256sum | cut -c1-16)
OVS_STAMP := $(OVS_PREFIX)/.key-$(OVS_KEY)

# The generated headers (config.h, ofp-errors.inc, vswitch-idl.h) are in the
# object folder, so it comes first.  lib/ and include/ of the source are for
# the private headers that Open vSwitch does not install.
OVS_CFLAGS := -I$(OVS_PREFIX)/include -I$(OVS_OBJ) -I$(OVS_OBJ)/include \
              -I$(OVS_OBJ)/lib -I$(OVS_SRC)/include -I$(OVS_SRC)/lib \
              -I$(OVS_SRC)
OVS_LIBS := -L$(OVS_PREFIX)/lib -lopenvswitch -lopenvswitchavx512 -latomic \
            -lnuma -lxdp -lbpf -lm -lunbound -lssl -lcrypto -lcap-ng -lpthread

.PHONY: ovs check-sal
ovs: $(OVS_STAMP) ## Open vSwitch with the SAL patches, in a private prefix

$(OVS_STAMP):
	@OVS_TARBALL=$(OVS_TARBALL) V=$(V) \
	    $(OVS_PATCHES)/build-ovs.sh $(OVS_KEY) $(OVS_BUILD)

CHECKS += check-sal
check-sal: $(OVS_STAMP) ## the SAL autotests inside the patched Open vSwitch
	@$(OVS_PATCHES)/check-sal.sh $(OVS_BUILD)

include tests/ovs/ovs-tests.mk
