# SPDX-License-Identifier: Apache-2.0
"""The numbers of ofp-ext/, read from its headers: defined once, there."""

import re

from topologies.daemon import ROOT


def _read(header):
    with open(f"{ROOT}/ofp-ext/{header}", encoding="utf-8") as file:
        text = file.read()
    return {name: int(value, 0) for name, value in re.findall(
        r"(?:#define |^ +)(SAL_\w+)(?: =)? (0x[0-9a-f]+|[0-9]+)\b", text,
        re.MULTILINE)}


_sal = _read("sal.h")
SAL_PORT = _sal["SAL_UDP_PORT"]
SYN, SYN_ACK, DATA = (_sal[f"SAL_TYPE_{name}"]
                      for name in ("SYN", "SYN_ACK", "DATA"))

_pipeline = _read("sal_pipeline.h")
CLASSIFY, SERVICE, FORWARD = (_pipeline[f"SAL_TABLE_{name}"]
                              for name in ("CLASSIFY", "SERVICE", "FORWARD"))

# Of the rules for what was registered, as ovs-ofctl takes it.
SERVICE_COOKIE = f"0x53414c{_pipeline['SAL_COOKIE_SERVICE']:02x}00000000/" \
    "0xffffffff00000000"
