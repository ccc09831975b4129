# SPDX-License-Identifier: Apache-2.0
# Flows that survive, with real clients (docs/migration.md).
MIGRATION_CLIENTS := $(addprefix $(BUILD)/tests/,words voice relay watch \
    many)
$(MIGRATION_CLIENTS): $(BUILD)/tests/%: $(BUILD)/obj/tests/migration/%.o
	$(call link)

CHECK_MIGRATION = BUILD=$(abspath $(BUILD)) \
    OVS_PREFIX=$(abspath $(OVS_PREFIX)) \
    $(PYTHON) -B tests/migration/check_migration.py
check-migration: $(PROGRAMS) $(MIGRATION_CLIENTS) ## connections survive moves of their hosts: a selection, a minute
	@$(CHECK_MIGRATION) --short

check-migration-all: $(PROGRAMS) $(MIGRATION_CLIENTS) ## the same, every scenario (SCENARIO="hop fifty_moves" some)
	@$(if $(SCENARIO),,$(PYTHON) -B tests/migration/check_plain.py $(BUILD))
	@$(CHECK_MIGRATION) $(SCENARIO)

check-migration-stock: $(PROGRAMS) $(MIGRATION_CLIENTS) ## both ends move at once between switches that resolve nothing
	@BUILD=$(abspath $(BUILD)) \
	    OVS_PREFIX=$(abspath $(BUILD))/ovs-pristine/ovs \
	    $(PYTHON) -B tests/migration/check_migration.py both_at_once

check-rendezvous: $(PROGRAMS) $(MIGRATION_CLIENTS) ## both ends move at once, with neither SAL switch nor controller
	@$(PYTHON) -B tests/migration/check_rendezvous.py $(BUILD)

check-absence: $(PROGRAMS) ## no TCP takes a host's absence for a round trip (SECONDS=30 longer)
	@/usr/bin/python3 tests/migration/check_absence.py $(BUILD) \
	    $(or $(SECONDS),8)

.PHONY: check-migration check-migration-all check-migration-stock \
    check-absence check-rendezvous
CHECKS += check-migration check-migration-stock check-absence \
    check-rendezvous

demo-migration: $(PROGRAMS) $(MIGRATION_CLIENTS) ## a download, a session and a call go on while their hosts move
	@BUILD=$(abspath $(BUILD)) OVS_PREFIX=$(abspath $(OVS_PREFIX)) \
	    $(PYTHON) -B tests/migration/demo_migration.py

.PHONY: demo-migration
