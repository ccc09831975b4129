# SPDX-License-Identifier: Apache-2.0
LIBCONTROLLER := $(BUILD)/lib/libcontroller.a

# The core decides, the shell (shell.mk) talks.  The core does no I/O.
CONTROLLER_PURE := $(addprefix controller/,addresses.c registry.c \
    registry_show.c tiles.c topology.c topology_hosts.c topology_show.c \
    paths.c paths_graph.c paths_ways.c policy.c zones.c routes.c \
    routes_show.c rules.c rules_kind.c \
    rules_ways.c rules_flow.c rules_read.c rules_group.c rules_meter.c rule_table.c \
    rule_bundle.c rule_changes.c rule_diff.c \
    rule_table_show.c plan.c plan_meters.c plan_ways.c plan_check.c plan_memory.c \
    plan_room.c plan_hosts.c trace.c \
    packet.c packet_plain.c resolve.c overflow.c usage.c)

PURE += $(CONTROLLER_PURE)
$(LIBCONTROLLER): $(CONTROLLER_PURE:%.c=$(BUILD)/obj/%.o)

CONTROLLER_TESTS := $(addprefix test_,addresses registry tiles topology paths policy resolve overflow usage \
    packet rule_table rules routes plan plan_random)
UNIT_TESTS += $(CONTROLLER_TESTS)
$(CONTROLLER_TESTS:%=$(BUILD)/tests/%): $(LIBCONTROLLER)

$(BUILD)/tests/bench_plan: $(BUILD)/obj/tests/bench/bench_plan.o \
    $(LIBCONTROLLER) $(LIBSALIENT)
	$(link)

bench-plan: $(BUILD)/tests/bench_plan ## speed of the controller's core (ARGS="K SERVICES INSTANCES [groups]")
	@$< $(ARGS)
.PHONY: bench-plan

FUZZ_TARGETS += packet rules
FUZZ_SRCS_packet := controller/packet.c controller/packet_plain.c proto/identity.c
FUZZ_SRCS_rules := $(addprefix controller/,rules.c rules_kind.c rules_ways.c rules_flow.c rules_read.c \
    rules_group.c rules_meter.c rule_table.c rule_bundle.c rule_changes.c rule_diff.c \
    rule_table_show.c paths.c paths_graph.c paths_ways.c policy.c zones.c routes.c topology.c topology_hosts.c registry.c \
    addresses.c tiles.c) ofp-ext/service_id.c

-include controller/shell.mk
