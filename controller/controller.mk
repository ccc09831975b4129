# SPDX-License-Identifier: Apache-2.0
LIBCONTROLLER := $(BUILD)/lib/libcontroller.a

# The core decides, the shell talks.  The core does no I/O (check-pure).
CONTROLLER_PURE := controller/addresses.c controller/registry.c controller/registry_show.c controller/tiles.c controller/topology.c controller/topology_hosts.c controller/topology_show.c controller/paths.c
CONTROLLER_SHELL :=

PURE += $(CONTROLLER_PURE)
$(LIBCONTROLLER): $(CONTROLLER_PURE:%.c=$(BUILD)/obj/%.o)
$(LIBCONTROLLER): $(CONTROLLER_SHELL:%.c=$(BUILD)/obj/%.o)

CONTROLLER_TESTS := test_addresses test_registry test_tiles test_topology test_paths
UNIT_TESTS += $(CONTROLLER_TESTS)
$(CONTROLLER_TESTS:%=$(BUILD)/tests/%): $(LIBCONTROLLER)
