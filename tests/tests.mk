# SPDX-License-Identifier: Apache-2.0
# Unit tests are programs of one file each, tests/unit/test_X.c; a fragment
# adds test_X to UNIT_TESTS and, where a test needs more than libsalient.a,
# says so: $(BUILD)/tests/test_X: $(LIBCONTROLLER)
UNIT_PROGRAMS := $(UNIT_TESTS:%=$(BUILD)/tests/%)
$(UNIT_PROGRAMS): $(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o
$(UNIT_PROGRAMS): $(LIBSALIENT)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -Wl,--as-needed $(filter %.o,$^) \
	    -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
	    $(LIBS) -lcunit -o $@

CHECKS := check-pure check-unit $(CHECKS)

## Tests
unit-programs: $(UNIT_PROGRAMS)

check-unit: $(UNIT_PROGRAMS) ## unit tests (CUnit)
	@tests/run-unit.sh $(UNIT_PROGRAMS)

check-pure: ## pure files do no I/O and read no clock
	@tests/check-pure.sh $(PURE)

run-checks:
	@tests/run-checks.sh $(CHECKS_BESIDE:%=--beside %) $(CHECKS)

.PHONY: unit-programs check-unit check-pure run-checks

# The dissector's own numbers against those of the header.
$(BUILD)/tests/sal_layout: tests/dissector/sal_layout.c ofp-ext/sal.h
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 $(OPT) $(WARN) -I. $< -o $@

check-dissector: $(BUILD)/tests/sal_layout ## the Wireshark dissector against ofp-ext/sal.h and tshark
	@$(PYTHON) tests/dissector/check_dissector.py $< \
	    $(BUILD)/log/check-quickstart/quickstart.pcap

.PHONY: check-dissector

include tests/bench/switch/bench.mk
include tests/bench/controller/bench.mk
include tests/migration/migration-tests.mk
include tests/bench/migration/bench.mk
include tests/kernel/kernel.mk
