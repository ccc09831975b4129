# SPDX-License-Identifier: Apache-2.0
# Mininet runs with the sandbox's own /run and PATH; nothing is installed.
QUICKSTART = BUILD=$(abspath $(BUILD)) OVS_PREFIX=$(abspath $(OVS_PREFIX)) \
    $(PYTHON) -B topologies/quickstart.py
KEEP ?= 0

## Demonstration and network tests
demo: deps ## run the main job in Mininet and show it working (KEEP=1: stay)
	@start=$$(date +%s); \
	$(MAKE) --no-print-directory ovs && \
	$(MAKE) --no-print-directory -j$$(nproc) all && \
	DEMO_BUILD_SECONDS=$$(($$(date +%s) - start)) \
	    $(QUICKSTART) $(if $(filter 1,$(KEEP)),--keep,--demo)

check-quickstart: $(PROGRAMS) ## the quickstart topology as a regression test
	@$(QUICKSTART) --test

check-services: $(PROGRAMS) ## health checks, and IPv6 by a path class, with real agents
	@BUILD=$(abspath $(BUILD)) OVS_PREFIX=$(abspath $(OVS_PREFIX)) \
	    $(PYTHON) -B tests/integration/test_services.py

check-classes: $(PROGRAMS) ## path classes while links fail under their traffic
	@BUILD=$(abspath $(BUILD)) OVS_PREFIX=$(abspath $(OVS_PREFIX)) \
	    $(PYTHON) -B tests/integration/test_classes.py

.PHONY: demo check-quickstart check-services check-classes
CHECKS += check-quickstart check-services check-classes check-dissector

include topologies/topo.mk
