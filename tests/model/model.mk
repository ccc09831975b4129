# SPDX-License-Identifier: Apache-2.0
# The migration protocol, verified with SPIN; see docs/migration.md.
MODEL_SRCS := $(wildcard tests/model/*.pml) tests/model/runs.txt
CHECKS += check-model
CHECKS_BESIDE += check-model

check-model: ## verify the migration protocol's model (SPIN), with mutants
	@tests/model/run-model.sh $(BUILD)/model check

model-deep: ## verify it with more faults, exhaustively: half an hour of a core
	@tests/model/run-model.sh $(BUILD)/model deep

model-far: ## search further than anybody can to the end (LIMIT_S=120 each, MEMORY_MB=)
	@tests/model/run-model.sh $(BUILD)/model far

# Every transition of an endpoint, for the comparison with agents/migration.c.
MODEL_TRANSITIONS := $(BUILD)/gen/migration-transitions.txt
$(MODEL_TRANSITIONS): tests/model/transitions.pml tests/model/endpoint.pml
	$(call say,SPIN,$@)
	@mkdir -p $(BUILD)/model/transitions $(@D)
	$(Q)cp $^ $(BUILD)/model/transitions && \
	    cd $(BUILD)/model/transitions && \
	    spin -a transitions.pml > spin.log && \
	    $(CC) -w -O1 -DSAFETY -DPRINTF -o pan pan.c && ./pan -n > pan.log
	$(Q)grep -q 'errors: 0' $(BUILD)/model/transitions/pan.log
	$(Q)grep '^T ' $(BUILD)/model/transitions/pan.log > $@

.PHONY: check-model model-deep model-far
