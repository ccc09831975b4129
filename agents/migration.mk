# SPDX-License-Identifier: Apache-2.0
# Flow migration: the state machine, its messages, and the protocol's model.
include tests/model/model.mk
