# SPDX-License-Identifier: Apache-2.0
# The controller's shell: OpenFlow sessions, the API's sessions, sockets,
# configuration, dumps, and the program.  controller.mk includes this file.
LIBCONTROLLER_SHELL := $(BUILD)/lib/libcontroller-shell.a

# What decides: bytes or messages in, bytes and events out.
SHELL_PURE := controller/openflow_codec.c controller/openflow_error.c \
    controller/switch_session.c controller/put.c controller/put_order.c \
    controller/put_walk.c controller/put_waits.c controller/put_queue.c controller/rule_encode.c \
    controller/discovery.c controller/discovery_links.c \
    controller/discovery_hosts.c controller/latency.c \
    controller/fair_limit.c controller/flaps.c \
    controller/agent_session.c controller/agent_handshake.c \
    controller/agent_requests.c controller/agent_push.c controller/event_log.c
# What talks.
SHELL_IO := controller/openflow_server.c controller/openflow_connection.c \
    controller/api_server.c \
    controller/controller_config.c controller/controller.c \
    controller/controller_switches.c controller/controller_ports.c \
    controller/controller_agents.c \
    controller/controller_routes.c controller/controller_identify.c \
    controller/controller_room.c \
    controller/controller_hold.c controller/controller_role.c controller/controller_reload.c \
    controller/controller_metrics.c controller/show.c \
    controller/show_switches.c controller/show_hosts.c controller/show_trace.c

PURE += $(SHELL_PURE)
$(LIBCONTROLLER_SHELL): $(SHELL_PURE:%.c=$(BUILD)/obj/%.o) \
    $(SHELL_IO:%.c=$(BUILD)/obj/%.o)

PROGRAMS += $(BUILD)/bin/salient-controller
$(BUILD)/bin/salient-controller: $(BUILD)/obj/controller/main.o \
    $(LIBCONTROLLER_SHELL) $(LIBCONTROLLER) $(LIBSALIENT)
	$(link)

SHELL_TESTS := $(addprefix test_,switch_session rule_encode put put_order put_queue agent_session event_log \
    controller_config discovery latency fair_limit flaps)
UNIT_TESTS += $(SHELL_TESTS)
$(SHELL_TESTS:%=$(BUILD)/tests/%): $(LIBCONTROLLER_SHELL) $(LIBCONTROLLER)

# An agent without a data plane, and the controller against real switches.
$(BUILD)/tests/test_agent: $(BUILD)/obj/tests/controller/test_agent.o \
    $(BUILD)/obj/agents/probe.o $(LIBSALIENT)
	$(link)

check-controller: $(BUILD)/bin/salient-controller $(BUILD)/bin/salctl $(BUILD)/tests/test_agent ## the controller against real switches (ONLY=name)
	@BUILD=$(abspath $(BUILD)) OVS_PREFIX=$(abspath $(OVS_PREFIX)) \
	    $(PYTHON) -B tests/controller/check_controller.py

check-restart: $(BUILD)/bin/salient-controller $(BUILD)/tests/test_agent ## kill -9 of the controller, switches that forget (ONLY=name)
	@BUILD=$(abspath $(BUILD)) OVS_PREFIX=$(abspath $(OVS_PREFIX)) \
	    $(PYTHON) -B tests/controller/check_restart.py

check-sessions: $(BUILD)/bin/salient-controller $(BUILD)/tests/test_agent ## TLS, roles, bad switches (ONLY=name)
	@BUILD=$(abspath $(BUILD)) OVS_PREFIX=$(abspath $(OVS_PREFIX)) \
	    $(PYTHON) -B tests/controller/check_sessions.py

check-floods: $(BUILD)/bin/salient-controller $(BUILD)/tests/test_agent ## hosts that flood and forge, ports that flap (ONLY=name)
	@BUILD=$(abspath $(BUILD)) OVS_PREFIX=$(abspath $(OVS_PREFIX)) \
	    $(PYTHON) -B tests/controller/check_floods.py

check-routing: $(BUILD)/bin/salient-controller $(BUILD)/tests/test_agent ## IPv6, policies, path classes in real switches (ONLY=name)
	@BUILD=$(abspath $(BUILD)) OVS_PREFIX=$(abspath $(OVS_PREFIX)) \
	    $(PYTHON) -B tests/controller/check_routing.py

check-plain: $(BUILD)/bin/salient-controller $(BUILD)/tests/test_agent ## hosts without an agent (ONLY=name)
	@BUILD=$(abspath $(BUILD)) OVS_PREFIX=$(abspath $(OVS_PREFIX)) \
	    $(PYTHON) -B tests/controller/check_plain.py

check-stock: $(BUILD)/bin/salient-controller $(BUILD)/tests/test_agent ## switches without the SAL fields (ONLY=name)
	@BUILD=$(abspath $(BUILD)) OVS_PREFIX=$(abspath $(OVS_PREFIX)) \
	    $(PYTHON) -B tests/controller/check_stock.py

.PHONY: check-controller check-restart check-routing check-plain check-stock check-sessions check-floods
CHECKS += check-controller check-restart check-routing check-plain check-stock check-sessions check-floods
FUZZ_TARGETS += openflow agent_session
FUZZ_SRCS_agent_session := controller/agent_session.c \
    controller/agent_handshake.c controller/agent_requests.c \
    controller/agent_push.c \
    controller/policy.c \
    controller/registry.c controller/registry_show.c controller/addresses.c \
    ofp-ext/service_id.c proto/identity.c $(PROTO_GEN_SRCS)
FUZZ_SRCS_openflow := controller/openflow_codec.c \
    controller/openflow_error.c controller/switch_session.c
