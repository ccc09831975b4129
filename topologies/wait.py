# SPDX-License-Identifier: Apache-2.0
"""Waiting for conditions, bounded."""

import os
import time

# Waits take as many times longer where the machine is emulated.
PATIENCE = int(os.environ.get("SALIENT_PATIENCE", "1"))


class TooLate(Exception):
    """A condition did not come true in time."""


def until(condition, what, timeout=30.0, interval=0.02):
    """Calls condition() until it returns something true and returns that.
    Raises TooLate, which says 'what', after 'timeout' seconds."""
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise TooLate(f"{what}: not within {timeout:g} s")
        time.sleep(interval)
