# SPDX-License-Identifier: Apache-2.0
#
# The host agent: sald and salctl.  The data plane adds its own fragment.

# Everything of sald but main(), so that tests link it.
AGENT_SRCS := \
    agents/agent.c \
    agents/agent_apply.c \
    agents/agent_balance.c \
    agents/agent_channel.c \
    agents/agent_commands.c \
    agents/agent_config.c \
    agents/agent_claims.c \
    agents/agent_hold.c \
    agents/agent_metrics.c \
    agents/agent_migration.c \
    agents/agent_migration_commands.c \
    agents/agent_rendezvous.c \
    agents/agent_routes.c \
    agents/agent_service_router.c \
    agents/agent_show.c \
    agents/agent_lost_flows.c \
    agents/agent_state.c \
    agents/lost_flow.c \
    agents/agent_upkeep.c \
    agents/agent_uplinks.c \
    agents/agent_whereabouts.c \
    agents/controller_session.c agents/session_news.c \
    agents/desired.c \
    agents/dns_answer.c \
    agents/dns_forward.c \
    agents/dns_reverse.c \
    agents/dns_server.c \
    agents/dns_srv.c \
    agents/agent_flows.c \
    agents/flow_filter.c \
    agents/health.c \
    agents/health_prober.c \
    agents/flow_format.c \
    agents/flow_top.c \
    agents/leases.c \
    agents/local_services.c \
    agents/names.c \
    agents/host_netdev.c \
    agents/probe.c \
    agents/probe_socket.c \
    agents/registrations.c \
    agents/service_routes.c \
    agents/uplink_policy.c \
    agents/whereabouts.c
LIBAGENT := $(BUILD)/lib/libagent.a

PURE += agents/health.c agents/controller_session.c agents/session_news.c agents/desired.c agents/dns_answer.c agents/dns_reverse.c \
        agents/dns_srv.c agents/flow_format.c agents/flow_top.c \
        agents/leases.c agents/local_services.c agents/lost_flow.c \
        agents/names.c agents/probe.c \
        agents/registrations.c agents/service_routes.c agents/uplink_policy.c \
        agents/whereabouts.c

AGENT_TESTS := test_health test_lost_flow test_names test_probe test_local_services \
               test_controller_session test_session_news test_agent_config test_agent_state \
               test_dns_answer test_dns_server test_desired \
               test_flow_filter test_leases \
               test_host_netdev test_operating_docs test_uplink_policy \
               test_whereabouts
UNIT_TESTS += $(AGENT_TESTS)
$(AGENT_TESTS:%=$(BUILD)/tests/%): $(LIBAGENT)

# These add to AGENT_SRCS, so they come before it is used.
include agents/bpf.mk
include agents/migration.mk

$(LIBAGENT): $(AGENT_SRCS:%.c=$(BUILD)/obj/%.o)
$(BUILD)/obj/agents/host_netdev.o: CPPFLAGS += -I/usr/include/libnl3

PROGRAMS += $(BUILD)/bin/sald $(BUILD)/bin/salctl
$(BUILD)/bin/sald: $(BUILD)/obj/agents/sald.o $(LIBAGENT) $(LIBSALIENT)
	$(call link)
$(BUILD)/bin/salctl: $(BUILD)/obj/agents/salctl.o $(LIBSALIENT)
	$(call link)

FUZZ_TARGETS += dns
FUZZ_SRCS_dns := agents/dns_answer.c agents/dns_reverse.c agents/dns_srv.c \
                 agents/names.c ofp-ext/service_id.c

# libsal, for programs: a shared and a static library, an example.
LIBSAL_SRCS := agents/libsal/libsal.c agents/libsal/agent_client.c \
               agents/libsal/datagrams.c agents/libsal/moves.c \
               ofp-ext/service_id.c
LIBSAL_SOVERSION := 0
LIBSAL := $(BUILD)/lib/libsal.so.$(LIBSAL_SOVERSION)
LIBSAL_OBJS := $(LIBSAL_SRCS:%.c=$(BUILD)/obj/pic/%.o) \
               $(BUILD)/obj/pic/salient.pb-c.o

$(LIBSAL_OBJS): CFLAGS += -fPIC
$(BUILD)/obj/pic/%.o: %.c Makefile | $(OVS_STAMP) $(PROTO_HEADER)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/obj/pic/salient.pb-c.o: $(GEN)/salient.pb-c.c | $(OVS_STAMP)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@
$(LIBSAL): $(LIBSAL_OBJS) agents/libsal/libsal.map
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,$(@F) \
	    -Wl,--version-script=agents/libsal/libsal.map $(LIBSAL_OBJS) \
	    -lprotobuf-c -lsodium -o $@
	$(Q)ln -sf $(@F) $(BUILD)/lib/libsal.so

$(BUILD)/bin/shardkv: $(BUILD)/obj/agents/libsal/shardkv.o $(LIBSAL)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $< -L$(BUILD)/lib -lsal -lsodium \
	    -Wl,-rpath,'$$ORIGIN/../lib' -o $@
PROGRAMS += $(LIBSAL) $(BUILD)/bin/shardkv

$(BUILD)/tests/test_libsal: $(BUILD)/obj/agents/libsal/libsal.o \
    $(BUILD)/obj/agents/libsal/datagrams.o \
    $(BUILD)/obj/agents/libsal/agent_client.o \
    $(BUILD)/obj/agents/libsal/moves.o
UNIT_TESTS += test_libsal

FUZZ_TARGETS += whereabouts
FUZZ_SRCS_whereabouts := agents/whereabouts.c agents/migration.c \
                         proto/identity.c ofp-ext/service_id.c

FUZZ_TARGETS += lost_flow
FUZZ_SRCS_lost_flow := agents/lost_flow.c proto/identity.c
