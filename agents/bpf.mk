# SPDX-License-Identifier: Apache-2.0
#
# The host's data plane: eBPF object and skeleton, the library around them.

BPF_SRCS := agents/bpf/sal.bpf.c
BPF_HEADERS := $(wildcard agents/bpf/*.h) ofp-ext/sal.h
BPF_OBJECT := $(BUILD)/bpf/sal.bpf.o
BPF_SKELETON := $(GEN)/agents/sal.skel.h
BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g -std=gnu11 -Wall -Wextra -Werror \
              -Wno-unused-parameter -I. \
              -I/usr/include/$(shell $(CC) -print-multiarch 2>/dev/null || :)

DATAPATH_SRCS := agents/datapath.c agents/datapath_attach.c \
                 agents/datapath_cursor.c \
                 agents/datapath_device.c agents/datapath_dump.c \
                 agents/datapath_ethtool.c agents/datapath_flows.c agents/datapath_held.c agents/datapath_rules.c \
                 agents/datapath_tables.c agents/datapath_uplink.c \
                 agents/datapath_wake.c
AGENT_SRCS += agents/claims.c agents/holder.c agents/host_tables.c \
              agents/packet_split.c $(DATAPATH_SRCS)
PURE += agents/claims.c agents/holder.c agents/host_tables.c agents/packet_split.c
UNIT_TESTS += test_claims test_host_tables test_holder test_packet_split
$(BUILD)/tests/test_claims $(BUILD)/tests/test_host_tables: $(LIBAGENT)
$(BUILD)/tests/test_holder $(BUILD)/tests/test_packet_split: $(LIBAGENT)

$(BPF_OBJECT): $(BPF_SRCS) $(BPF_HEADERS) agents/bpf.mk
	$(call say,CLANG,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $(BPF_SRCS) -o $@

$(BPF_SKELETON): $(BPF_OBJECT)
	$(call say,SKEL,$@)
	@mkdir -p $(@D)
	$(Q)bpftool gen skeleton $< name sal_bpf > $@.tmp && mv $@.tmp $@

$(DATAPATH_SRCS:%.c=$(BUILD)/obj/%.o): $(BPF_SKELETON)
$(DATAPATH_SRCS:%.c=$(BUILD)/obj/%.o): CPPFLAGS += -I/usr/include/libnl3

# dpctl drives the data plane without a daemon.
DPCTL := $(BUILD)/tests/dpctl
$(BUILD)/obj/tests/bpf/dpctl.o: $(BPF_SKELETON)
$(BUILD)/obj/tests/bpf/dpctl.o: CPPFLAGS += -I/usr/include/libnl3
$(DPCTL): $(BUILD)/obj/tests/bpf/dpctl.o $(LIBAGENT) $(LIBSALIENT)
	$(call link)

# Byte-exact tests of the programs, then real namespaces.
BPF_TESTS := test_sal_bpf test_sal_hostile test_sal_udp test_sal_held \
             test_sal_datagram test_sal_actions test_sal_icmp test_sal_limits \
             test_sal_v6 test_sal_v6_hostile test_sal_v6_actions \
             test_sal_path_mtu test_sal_retry test_sal_rsyn test_sal_identity \
             test_sal_echo test_sal_full test_sal_flood
BPF_TEST_PROGRAMS := $(BPF_TESTS:%=$(BUILD)/tests/%)
$(BPF_TEST_PROGRAMS): $(BUILD)/tests/%: $(BUILD)/obj/tests/bpf/%.o
$(BPF_TEST_PROGRAMS): $(LIBAGENT) $(LIBSALIENT)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -Wl,--as-needed $(filter %.o,$^) \
	    $(filter %.a,$^) $(LIBS) -lcunit -o $@
$(BPF_TESTS:%=$(BUILD)/obj/tests/bpf/%.o): $(BPF_SKELETON)
$(BPF_TESTS:%=$(BUILD)/obj/tests/bpf/%.o): CPPFLAGS += -I/usr/include/libnl3

CHECKS += check-bpf
.PHONY: check-bpf
check-bpf: $(BPF_TEST_PROGRAMS) $(DPCTL) $(BUILD)/tests/flood ## eBPF programs byte by byte, then between namespaces
	@tests/bpf/run-bpf.sh $(BUILD) $(BPF_TEST_PROGRAMS)

.PHONY: check-ipv6
check-ipv6: $(DPCTL) ## IPv6 inside and outside: each offload, XDP, old kernels' ways, path MTU, links (8 min)
	@/usr/bin/python3 tests/bpf/test_ipv6.py $(BUILD) thorough
	@/usr/bin/python3 tests/bpf/test_path.py $(BUILD) thorough
	@/usr/bin/python3 tests/bpf/test_links.py $(BUILD)

# The daemon as systemd runs it: capabilities, notification, kill -9, reload.
CHECKS += check-daemon
.PHONY: check-daemon
check-daemon: $(BUILD)/bin/sald $(BUILD)/bin/salctl $(BUILD)/bin/salient-controller $(DPCTL) ## sald with its four capabilities, killed, reloaded, upgraded
	@/usr/bin/python3 tests/bpf/test_daemon.py $(BUILD)

# A minute of each kind of flood; two seconds of each are in check-bpf.
FLOOD := $(BUILD)/tests/flood
$(FLOOD): $(BUILD)/obj/tests/bench/host/flood.o $(LIBSALIENT)
	$(call link)

.PHONY: check-flood
check-flood: $(FLOOD) $(DPCTL) ## floods of forged packets, a minute each (ARGS="SECONDS RATE")
	@/usr/bin/python3 tests/bpf/test_flood.py $(BUILD) $(ARGS)

# The programs as ordinary code, for the fuzzer.
FUZZ_TARGETS += bpf
FUZZ_SRCS_bpf :=
$(BUILD)/fuzz/obj/tests/fuzz/fuzz_bpf.o: $(BPF_SRCS) $(BPF_HEADERS)
$(BUILD)/fuzz/fuzz_bpf: | $(BUILD)/fuzz/corpus_bpf.made
$(BUILD)/fuzz/corpus_bpf.made: tests/fuzz/corpus_bpf.py
	@mkdir -p $(BUILD)/fuzz/corpus/bpf
	$(Q)/usr/bin/python3 $< $(BUILD)/fuzz/corpus/bpf && touch $@

# Speed beside the plain kernel, VXLAN, nftables, HAProxy.
PINGPONG := $(BUILD)/tests/pingpong
$(PINGPONG): $(BUILD)/obj/tests/bench/host/pingpong.o
	$(call link)

# The tables at size.
BENCH_TABLES := $(BUILD)/tests/tables
$(BUILD)/bpf/lookup.bpf.o: tests/bench/host/lookup.bpf.c $(BPF_HEADERS)
	$(call say,CLANG,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@
$(GEN)/tests/lookup.skel.h: $(BUILD)/bpf/lookup.bpf.o
	$(call say,SKEL,$@)
	@mkdir -p $(@D)
	$(Q)bpftool gen skeleton $< name lookup_bpf > $@.tmp && mv $@.tmp $@
$(BUILD)/obj/tests/bench/host/tables.o: $(BPF_SKELETON) $(GEN)/tests/lookup.skel.h
$(BUILD)/obj/tests/bench/host/tables.o: CPPFLAGS += -I/usr/include/libnl3 \
                                                    -I$(GEN)/tests
$(BENCH_TABLES): $(BUILD)/obj/tests/bench/host/tables.o $(LIBAGENT) $(LIBSALIENT)
	$(call link)

.PHONY: bench-host
bench-host: $(PINGPONG) $(DPCTL) $(BENCH_TABLES) $(BUILD)/bin/sald $(BUILD)/bin/salctl ## speed of the host's data plane beside its rivals (ARGS="ROUNDS SECONDS")
	@/usr/bin/python3 tests/bench/host/bench_host.py $(BUILD) $(ARGS)
