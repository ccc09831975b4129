# SPDX-License-Identifier: Apache-2.0
# Flow migration: the state machine, its messages, and the protocol's model.
include tests/model/model.mk

MIGRATION_SRCS := agents/migration.c agents/migration_message.c \
                  agents/migration_peer.c
MIGRATOR_SRCS := agents/migrator.c agents/migrator_command.c \
                 agents/migrator_drive.c \
                 agents/migrator_policy.c agents/migrator_show.c
AGENT_SRCS += agents/wake_queue.c
PURE += agents/wake_queue.c
AGENT_SRCS += $(MIGRATOR_SRCS)
PURE += $(MIGRATOR_SRCS)
AGENT_SRCS += $(MIGRATION_SRCS)
PURE += $(MIGRATION_SRCS)

MIGRATION_TESTS := test_migration test_migrator test_migrator_faults \
                   test_migration_message test_migration_model \
                   test_wake_queue
UNIT_TESTS += $(MIGRATION_TESTS)
$(MIGRATION_TESTS:%=$(BUILD)/tests/%): $(LIBAGENT)

$(BUILD)/tests/test_migration_model: | $(MODEL_TRANSITIONS)
$(BUILD)/obj/tests/unit/test_migration_model.o: $(MODEL_TRANSITIONS)
$(BUILD)/obj/tests/unit/test_migration_model.o: \
    CPPFLAGS += -DTRANSITIONS_FILE='"$(abspath $(MODEL_TRANSITIONS))"'

FUZZ_TARGETS += migration
FUZZ_SRCS_migration := $(MIGRATION_SRCS) agents/probe.c proto/identity.c \
                       ofp-ext/service_id.c
FUZZ_TARGETS += migrator
FUZZ_SRCS_migrator := $(MIGRATION_SRCS) $(MIGRATOR_SRCS) agents/probe.c \
                      proto/identity.c ofp-ext/service_id.c
