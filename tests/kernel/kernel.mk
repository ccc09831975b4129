# SPDX-License-Identifier: Apache-2.0
# Suites on Debian 12's own Linux 6.1, in a virtual machine.
KERNEL_DIR := $(BUILD)/kernel
KERNEL_INSTALLED := $(KERNEL_DIR)/installed
.PHONY: check-kernel
check-kernel: $(PROGRAMS) $(BPF_TEST_PROGRAMS) $(DPCTL) $(BUILD)/tests/flood ## suites on Debian's Linux 6.1 in a virtual machine (SUITES="bpf links" some; long)
	@tests/setup/install-packages.sh tests/kernel/packages.txt
	@tests/kernel/fetch-kernel.sh $(abspath $(KERNEL_DIR))
	@rm -rf $(KERNEL_INSTALLED)
	@$(MAKE) --no-print-directory -s install DESTDIR=$(KERNEL_INSTALLED)
	@$(PYTHON) -B tests/kernel/check_kernel.py $(BUILD) $(SUITES)
