# SPDX-License-Identifier: Apache-2.0
"""Waiting for conditions, bounded."""

import time


class TooLate(Exception):
    """A condition did not come true in time."""


def until(condition, what, timeout=30.0, interval=0.02):
    """Calls condition() until it returns something true and returns that.
    Raises TooLate, which says 'what', after 'timeout' seconds."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise TooLate(f"{what}: not within {timeout:g} s")
        time.sleep(interval)
