# SPDX-License-Identifier: Apache-2.0
# Flows that survive, with real clients (docs/migration.md).
MIGRATION_CLIENTS := $(BUILD)/tests/words $(BUILD)/tests/voice \
                     $(BUILD)/tests/relay
$(MIGRATION_CLIENTS): $(BUILD)/tests/%: $(BUILD)/obj/tests/migration/%.o
	$(call link)
