# SPDX-License-Identifier: Apache-2.0
#
# Speed of the controller, by switches and agents that do not exist.
LOAD_SRCS := $(addprefix tests/bench/controller/,load_topology.c \
    load_switch.c load_flows.c load_group.c load_meter.c load_agent.c \
    load_check.c load_check_base.c \
    load_controller.c load_run.c)
LOAD_OBJS := $(LOAD_SRCS:%.c=$(BUILD)/obj/%.o) $(BUILD)/obj/agents/probe.o

# PART:SIZE:SERVICES, see bench_controller.c.
BENCH_CONTROLLER ?= register:1:10000 register:10:10000 register:100:10000 \
    register:500:300 changes:1:10000 changes:10:1000 changes:100:100 \
    failover:4:100 failover:8:100 failover:16:100 failoverports:8:100

$(BUILD)/tests/bench_controller: \
    $(BUILD)/obj/tests/bench/controller/bench_controller.o $(LOAD_OBJS) \
    $(LIBCONTROLLER_SHELL) $(LIBCONTROLLER) $(LIBSALIENT)
	$(link)

# The same oracle, asked about real switches.
$(BUILD)/tests/check_ovs: $(BUILD)/obj/tests/bench/controller/check_ovs.o \
    $(LOAD_OBJS) $(LIBCONTROLLER_SHELL) $(LIBCONTROLLER) $(LIBSALIENT)
	$(link)

# Make before break, with slow switches that do not exist.
$(BUILD)/tests/check_order: $(BUILD)/obj/tests/bench/controller/check_order.o \
    $(LOAD_OBJS) $(LIBCONTROLLER_SHELL) $(LIBCONTROLLER) $(LIBSALIENT)
	$(link)

check-order: $(BUILD)/tests/check_order $(BUILD)/bin/salient-controller ## no packet strays while hosts, weights and links change and switches are slow
	@$< $(BUILD)/bin/salient-controller
.PHONY: check-order
CHECKS += check-order

check-fattree: $(BUILD)/tests/check_ovs $(BUILD)/bin/salient-controller ## the rules of a real fat tree, k=4, against the load generator's oracle
	@BUILD=$(abspath $(BUILD)) OVS_PREFIX=$(abspath $(OVS_PREFIX)) \
	    $(PYTHON) -B tests/controller/check_fattree.py
.PHONY: check-fattree
CHECKS += check-fattree

BENCH_CONTROLLER_NEEDS := $(BUILD)/tests/bench_controller \
    $(BUILD)/bin/salient-controller
bench-controller: $(BENCH_CONTROLLER_NEEDS) ## speed of the controller (BENCH_CONTROLLER="register:EDGES:SERVICES ...")
	@mkdir -p $(BUILD)/bench
	@$< $(BUILD)/bin/salient-controller $(BUILD)/bench/controller.json \
	    $(BENCH_CONTROLLER)
	@$(MAKE) --no-print-directory bench-controller-1m bench-failover

# A table and charts for docs/controller.md.
bench-controller-growth: $(BENCH_CONTROLLER_NEEDS) ## how the controller's cost grows with switches, services, links (minutes; BENCH_CONTROLLER_GROWTH="register:500:10000 ...")
	@mkdir -p $(BUILD)/bench
	@$(PYTHON) -B tests/bench/controller/growth.py $^ \
	    $(BUILD)/bench/controller-growth.md $(BENCH_CONTROLLER_GROWTH)

bench-failover: $(PROGRAMS) ## packets lost when a link fails, in Mininet
	@mkdir -p $(BUILD)/bench
	@env BUILD=$(abspath $(BUILD)) OVS_PREFIX=$(abspath $(OVS_PREFIX)) \
	    $(PYTHON) -B tests/bench/controller/failover_loss.py \
	    $(BUILD)/bench/controller-failover.json

# The core alone: sockets would need as much memory again for the load.
$(BUILD)/tests/bench_memory: $(BUILD)/obj/tests/bench/controller/bench_memory.o \
    $(LIBCONTROLLER) $(LIBSALIENT)
	$(link)

bench-controller-1m: $(BUILD)/tests/bench_memory ## memory for 1,000,000 instances of 100,000 services, 10 edge switches
	@mkdir -p $(BUILD)/bench
	@$< $(BUILD)/bench/controller-1m.json

.PHONY: bench-failover bench-controller bench-controller-growth \
    bench-controller-1m
