# SPDX-License-Identifier: Apache-2.0
"""Tests of the shapes of topologies/ and of their failures."""
