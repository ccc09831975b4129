# SPDX-License-Identifier: Apache-2.0
# The API's messages become C once; everything that includes them waits for it.
PROTO_HEADER := $(GEN)/salient.pb-c.h
PROTO_OBJS := $(BUILD)/obj/gen/salient.pb-c.o
PROTO_GEN_SRCS := $(GEN)/salient.pb-c.c

$(GEN)/salient.pb-c.h $(GEN)/salient.pb-c.c &: proto/salient.proto
	$(call say,PROTOC,$<)
	@mkdir -p $(GEN)
	$(Q)protoc-c --proto_path=proto --c_out=$(GEN) $<

$(PROTO_OBJS): $(GEN)/salient.pb-c.c | $(OVS_STAMP)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

LIBSALIENT_SRCS += proto/frame.c proto/identity.c proto/daemon/daemon.c \
                   proto/daemon/config_file.c proto/daemon/config_value.c \
                   proto/daemon/config_load.c \
                   proto/endpoint.c proto/channel.c proto/channel_connect.c \
                   proto/channel_listen.c proto/tls.c \
                   proto/daemon/control.c proto/daemon/control_text.c \
                   proto/daemon/control_client.c proto/daemon/metrics_server.c
PURE += proto/frame.c proto/endpoint.c \
        proto/daemon/config_file.c proto/daemon/config_value.c \
        proto/daemon/control_text.c
UNIT_TESTS += test_frame test_identity test_daemon test_config_file test_endpoint \
              test_channel test_tls test_control test_metrics_server \
              test_api_docs
