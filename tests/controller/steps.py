# SPDX-License-Identifier: Apache-2.0
"""Runs the steps of a suite one after the other, in one network, and counts
them.  ONLY=STEP in the environment ends after that step."""

import os
import traceback


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def run_steps(net, steps):
    """(passed, failed, skipped); a failure ends it.  What a step returns is
    shown behind its name."""
    only = os.environ.get("ONLY")
    for passed, step in enumerate(steps):
        try:
            said = step(net)
        except BaseException as error:  # pylint: disable=broad-except
            traceback.print_exc()
            print(f"  FAIL    {step.__name__}: {error}", flush=True)
            print(f"          log: {net.daemon.log if net.daemon else ''}")
            return passed, 1, len(steps) - passed - 1
        print(f"  PASS    {step.__name__.replace('_', ' ')}"
              f"{': ' + said if said else ''}", flush=True)
        if only == step.__name__:
            return passed + 1, 0, len(steps) - passed - 1
    return len(steps), 0, 0


def run_suite(name, net, steps, before_down=lambda: None):
    """All of a suite in 'net', which is taken down; 'before_down' ends what the
    steps have left there.  Returns the exit status."""
    passed, failed, skipped = run_steps(net, steps)
    before_down()
    status = net.down()
    if status != 0:
        print(f"  FAIL    the controller's exit status was {status}")
        failed += 1
    print(f"{name}: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0
