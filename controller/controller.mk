# SPDX-License-Identifier: Apache-2.0
LIBCONTROLLER := $(BUILD)/lib/libcontroller.a

# The core decides, the shell (shell.mk) talks.  The core does no I/O.
CONTROLLER_PURE := $(addprefix controller/,addresses.c registry.c \
    registry_show.c tiles.c topology.c topology_hosts.c topology_show.c \
    paths.c routes.c routes_show.c rules.c rules_flow.c rules_group.c rule_table.c plan.c packet.c)

PURE += $(CONTROLLER_PURE)
$(LIBCONTROLLER): $(CONTROLLER_PURE:%.c=$(BUILD)/obj/%.o)

CONTROLLER_TESTS := $(addprefix test_,addresses registry tiles topology paths \
    packet rule_table rules routes plan)
UNIT_TESTS += $(CONTROLLER_TESTS)
$(CONTROLLER_TESTS:%=$(BUILD)/tests/%): $(LIBCONTROLLER)

$(BUILD)/tests/bench_plan: $(BUILD)/obj/tests/bench/bench_plan.o \
    $(LIBCONTROLLER) $(LIBSALIENT)
	$(link)

bench-plan: $(BUILD)/tests/bench_plan ## speed of the controller's core (ARGS="K SERVICES INSTANCES")
	@$< $(ARGS)
.PHONY: bench-plan

-include controller/shell.mk
