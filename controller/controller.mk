# SPDX-License-Identifier: Apache-2.0
LIBCONTROLLER := $(BUILD)/lib/libcontroller.a

# The core decides, the shell talks.  The core does no I/O (check-pure).
CONTROLLER_PURE := $(addprefix controller/,addresses.c registry.c \
    registry_show.c tiles.c topology.c topology_hosts.c topology_show.c \
    paths.c routes.c rules.c rules_flow.c rule_table.c plan.c)
CONTROLLER_SHELL :=

PURE += $(CONTROLLER_PURE)
$(LIBCONTROLLER): $(CONTROLLER_PURE:%.c=$(BUILD)/obj/%.o)
$(LIBCONTROLLER): $(CONTROLLER_SHELL:%.c=$(BUILD)/obj/%.o)

CONTROLLER_TESTS := test_addresses test_registry test_tiles test_topology test_paths
UNIT_TESTS += $(CONTROLLER_TESTS)
$(CONTROLLER_TESTS:%=$(BUILD)/tests/%): $(LIBCONTROLLER)
