# SPDX-License-Identifier: Apache-2.0
#
# Speed of migration, beside MPTCP on the same two paths.
bench-migration: $(PROGRAMS) $(MIGRATION_CLIENTS) ## gaps and losses of moves, beside MPTCP (ARGS="failover mptcp planned flows forged balance")
	@BUILD=$(abspath $(BUILD)) OVS_PREFIX=$(abspath $(OVS_PREFIX)) \
	    $(PYTHON) -B tests/bench/migration/bench_migration.py $(ARGS)

.PHONY: bench-migration
