# SPDX-License-Identifier: Apache-2.0
"""check_migration.py [--short | NAME...]: connections survive whatever happens
to their hosts.  The scenarios are in scenarios.py, the network in lab.py."""

import os
import shutil
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path[:0] = [ROOT, f"{ROOT}/tests"]

# pylint: disable=wrong-import-position
from topologies import sandbox
from topologies.daemon import OVS_PREFIX, RUN
from topologies.report import Report, note
from topologies.wait import TooLate


def figures(run):
    """The longest pause of each client, and what it did."""
    return ", ".join(f"{name} {ms:.0f}" for name, ms in run.gaps().items())


def try_one(report, lab, scenario):
    """Whether it went well."""
    from migration.scenarios import Run
    start = time.monotonic()
    run, wrong = None, []
    try:
        run = Run(lab, scenario.mib, scenario.rate, scenario.http2)
        scenario.run(run)
        wrong = run.finish()
        if scenario.lossless and not wrong and run.voice.lost:
            wrong.append(f"voice lost {run.voice.lost} datagrams")
    except (TooLate, RuntimeError, OSError) as error:
        wrong.append(str(error))
        if run:
            wrong += [client.finish(0.1) or "" for client in run.clients
                      if not client.running()]
            run.kill()
    seconds = time.monotonic() - start
    if report.check(not wrong, scenario.name, f"longest gaps, ms: "
                    f"{figures(run)}; {seconds:.0f} s" if not wrong
                    else "; ".join(filter(None, wrong))):
        for client in run.clients:
            note(f"{client.name}: {client.figures()}")
    else:
        for host in lab.hosts:
            note(f"{host.name}: {aborts(host)}")
    return not wrong


def aborts(host):
    """Why TCP gave up connections, if it did."""
    return [" ".join(line.split()[:2])
            for line in host.do("nstat", "-az").splitlines()
            if "Abort" in line or "Rst" in line or "Resets" in line]


def run_all(report, scenarios):
    from migration.lab import Lab
    lab = None
    status = 0
    for scenario in scenarios:
        try:
            if not lab:
                lab = Lab("check-migration")
                lab.start()
        except (TooLate, RuntimeError, OSError) as error:
            report.check(False, "the network is up", str(error))
            if lab:
                lab.show_logs()
            return 1
        if not try_one(report, lab, scenario):
            # The next one gets a network that is as it should be.
            lab.show_logs()
            lab.down()
            shutil.rmtree(RUN)
            lab, status = None, 1
    if lab:
        wrong = lab.down() + lab.leftovers()
        report.check(not wrong, "everything stops and leaves nothing",
                     "; ".join(wrong))
    return status


def main():
    from migration.scenarios import SCENARIOS
    wanted = sys.argv[1:]
    if not os.path.exists(f"{OVS_PREFIX}/sbin/ovs-vswitchd"):
        print(f"  SKIP    no Open vSwitch in {OVS_PREFIX}")
        print(f"0 passed, 0 failed, {len(wanted) or 1} skipped")
        return 0
    scenarios = ([s for s in SCENARIOS if s.short] if wanted == ["--short"]
                 else [s for s in SCENARIOS if not wanted
                       or s.run.__name__ in wanted])
    report = Report()
    return report.finish(sandbox.run(lambda: run_all(report, scenarios)))


if __name__ == "__main__":
    sys.exit(main())
