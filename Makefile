# The parts bring their own rules.
all: ovs
.PHONY: all

include ovs-patches/ovs.mk
