# SPDX-License-Identifier: Apache-2.0
# Networks of any shape (docs/topologies.md).
TOPO_PY = env BUILD=$(abspath $(BUILD)) OVS_PREFIX=$(abspath $(OVS_PREFIX)) \
    $(PYTHON) -B topologies/topo.py
TOPO ?= ring
ARGS ?=

topo: $(PROGRAMS) ## run a network: TOPO=line|ring|leafspine|fattree|graphml ARGS="--size 6" KEEP=1
	@$(TOPO_PY) $(TOPO) $(ARGS) $(if $(filter 1,$(KEEP)),--keep)

check-graphs: ## graphs of topologies and the oracle of reachability
	@$(PYTHON) -B tests/shapes_test/test_graphs.py

check-topologies-short: $(PROGRAMS) ## some failures and moves in a line and a ring
	@tests/shapes_test/run-topologies.sh "$(TOPO_PY)" \
	    "line --size 3 --sample 1" \
	    "ring --size 3 --parallel 2 --loop --ipv6 --sample 1"

# A fat tree has 68 single failures; SAMPLE= breaks all of them.
SAMPLE ?= 6
check-topologies: $(PROGRAMS) ## every shape of network, piece by piece (SAMPLE=N of each kind in large ones)
	@tests/shapes_test/run-topologies.sh "$(TOPO_PY)" line ring \
	    "ring --no-fast-failover" "ring --ipv6" \
	    "line --parallel 2 --loop --ipv6" leafspine graphml \
	    "fattree $(if $(SAMPLE),--sample $(SAMPLE))" \
	    "fattree --no-fast-failover $(if $(SAMPLE),--sample $(SAMPLE))"

.PHONY: topo check-graphs check-topologies-short check-topologies
CHECKS += check-graphs check-topologies-short
