# SPDX-License-Identifier: Apache-2.0
"""The oracle: who must reach whom, computed from the graph alone.

Pure, and on purpose without a word of routing: what is connected must work,
what is not must not.  The tests compare the network with it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Failure:
    """What is broken: indices of links, names of switches, and of hosts whose
    uplink is down.  What is not where it was: (host, its switch now)."""

    name: str = "nothing"
    links: frozenset = frozenset()
    switches: frozenset = frozenset()
    uplinks: frozenset = frozenset()
    moves: frozenset = frozenset()


HEALTHY = Failure()


def live_links(graph, failure):
    """Indices of the links that work."""
    return [index for index, ends in enumerate(graph.links)
            if index not in failure.links
            and not failure.switches.intersection(ends)]


def islands(graph, failure):
    """{live switch: number of its island}: equal for switches that a path of
    working links connects."""
    neighbours = {switch: [] for switch in graph.switches
                  if switch not in failure.switches}
    for index in live_links(graph, failure):
        one, other = graph.links[index]
        neighbours[one].append(other)
        neighbours[other].append(one)
    island = {}
    for start in neighbours:
        if start in island:
            continue
        island[start] = number = len(set(island.values()))
        edge = [start]
        while edge:
            for switch in neighbours[edge.pop()]:
                if switch not in island:
                    island[switch] = number
                    edge.append(switch)
    return island


def places(graph, failure):
    """{host: its switch}."""
    return {**graph.uplinks, **dict(failure.moves)}


def attached(graph, failure):
    """{host: number of its island}, without hosts that are cut off alone."""
    island = islands(graph, failure)
    return {host: island[switch]
            for host, switch in places(graph, failure).items() if host not in failure.uplinks and switch in island}


def pings(graph, failure):
    """The ordered pairs of different hosts that must reach each other; all
    others must not."""
    place = attached(graph, failure)
    return {(one, other) for one in place for other in place
            if one != other and place[one] == place[other]}


def far_pair(graph):
    """Both ways between the first host and the last one that it reaches;
    nothing if nobody reaches anybody."""
    must = pings(graph, HEALTHY)
    pairs = [(one, other) for one in graph.hosts for other in graph.hosts
             if (one, other) in must]
    if not pairs:
        return []
    one = pairs[0][0]
    other = [to for start, to in pairs if start == one][-1]
    return [(one, other), (other, one)]


def answers(graph, failure, client, servers):
    """Who may answer a client that asks for a service of 'servers'; empty: it
    must not be served.  A host's own services are served on the spot, with
    and without a network."""
    if client in servers:
        return {client}
    place = attached(graph, failure)
    return {server for server in servers
            if client in place and place.get(server) == place[client]}


# What to break.

def single_links(graph):
    return [Failure(f"link {one}-{other}", links=frozenset([index]))
            for index, (one, other) in enumerate(graph.links)]


def single_uplinks(graph):
    return [Failure(f"uplink of {host}", uplinks=frozenset([host]))
            for host in graph.hosts]


def single_switches(graph):
    return [Failure(f"switch {switch}", switches=frozenset([switch]))
            for switch in graph.switches]


def single_moves(graph):
    """Each host to another port of its switch, then to the next switch."""
    return [Failure(f"{host} moves to {where}", moves=frozenset(
        [(host, where)]))
            for host, at in graph.uplinks.items() for where in dict.fromkeys([
                at, graph.switches[(graph.switches.index(at) + 1)
                                   % len(graph.switches)]])]


def partition(graph):
    """All links between two halves; the first half is what is nearest to the
    first switch.  None if there is nothing to part."""
    order, seen = list(graph.switches[:1]), set(graph.switches[:1])
    for switch in order:  # Grows while we walk it.
        for ends in graph.links:
            if switch in ends:
                other = ends[ends[0] == switch]
                if other not in seen:
                    seen.add(other)
                    order.append(other)
    half = set(order[:(len(order) + 1) // 2])
    cut = frozenset(index for index, (one, other) in enumerate(graph.links)
                    if (one in half) != (other in half))
    return Failure(f"partition ({len(cut)} links)", links=cut) if cut else None
