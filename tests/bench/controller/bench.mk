# SPDX-License-Identifier: Apache-2.0
#
# Speed of the controller, by switches and agents that do not exist.
BENCH_CONTROLLER_SRCS := $(addprefix tests/bench/controller/,load_topology.c \
    load_switch.c load_agent.c load_check.c load_controller.c \
    bench_controller.c)

# PART:SIZE:SERVICES, see bench_controller.c.
BENCH_CONTROLLER ?= register:10:1000 register:100:300 changes:1:10000 \
    changes:10:1000 failover:4:100 failover:8:30

$(BUILD)/tests/bench_controller: \
    $(BENCH_CONTROLLER_SRCS:%.c=$(BUILD)/obj/%.o) \
    $(BUILD)/obj/agents/probe.o $(LIBCONTROLLER_SHELL) $(LIBCONTROLLER) \
    $(LIBSALIENT)
	$(link)

bench-controller: $(BUILD)/tests/bench_controller \
    $(BUILD)/bin/salient-controller ## speed of the controller (BENCH_CONTROLLER="register:EDGES:SERVICES changes:... failover:K:SERVICES")
	@mkdir -p $(BUILD)/bench
	@$< $(BUILD)/bin/salient-controller $(BUILD)/bench/controller.json \
	    $(BENCH_CONTROLLER)

.PHONY: bench-controller
