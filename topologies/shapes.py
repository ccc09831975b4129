# SPDX-License-Identifier: Apache-2.0
"""Graphs of switches and hosts: line, ring, leaf-spine, fat tree, GraphML.

Pure: no network is made here (topo.py does that).  Switches are s1, s2, ...,
hosts h1, h2, ..., in the order in which they are made."""

import dataclasses
import xml.etree.ElementTree

MAX_SWITCHES = 1000
MAX_HOSTS = 240  # What the management network of salient_net.py has room for.


@dataclasses.dataclass
class Graph:
    """'links' are pairs of switches, parallel ones are there several times;
    a link is known by its index.  'uplinks' says where each host is."""

    name: str
    switches: list = dataclasses.field(default_factory=list)
    links: list = dataclasses.field(default_factory=list)
    uplinks: dict = dataclasses.field(default_factory=dict)
    labels: dict = dataclasses.field(default_factory=dict)

    @property
    def hosts(self):
        return list(self.uplinks)

    def add_switch(self, label=None):
        if len(self.switches) == MAX_SWITCHES:
            raise ValueError(f"more than {MAX_SWITCHES} switches")
        name = f"s{len(self.switches) + 1}"
        self.switches.append(name)
        self.labels[name] = label or name
        return name

    def add_link(self, one, other):
        self.links.append((one, other))

    def add_hosts(self, switch, count):
        for _ in range(count):
            if len(self.uplinks) == MAX_HOSTS:
                raise ValueError(f"more than {MAX_HOSTS} hosts")
            self.uplinks[f"h{len(self.uplinks) + 1}"] = switch


def _at_least(least, value, what):
    if value < least:
        raise ValueError(f"{what}: {value}, must be at least {least}")


def line(size=4, hosts=1):
    _at_least(1, size, "size")
    graph = Graph(f"line of {size}")
    for number in range(size):
        switch = graph.add_switch()
        graph.add_hosts(switch, hosts)
        if number:
            graph.add_link(graph.switches[-2], switch)
    return graph


def ring(size=4, hosts=1):
    _at_least(3, size, "size")
    graph = line(size, hosts)
    graph.name = f"ring of {size}"
    graph.add_link(graph.switches[-1], graph.switches[0])
    return graph


def leaf_spine(leaves=4, spines=2, hosts=2):
    """Every leaf is linked to every spine; hosts are at leaves."""
    _at_least(1, leaves, "leaves")
    _at_least(1, spines, "spines")
    graph = Graph(f"leaf-spine {leaves}x{spines}")
    tops = [graph.add_switch(f"spine-{n + 1}") for n in range(spines)]
    for number in range(leaves):
        leaf = graph.add_switch(f"leaf-{number + 1}")
        graph.add_hosts(leaf, hosts)
        for top in tops:
            graph.add_link(leaf, top)
    return graph


def fat_tree(k=4, hosts=None):
    """k pods of k/2 edge and k/2 aggregation switches, (k/2)^2 core switches,
    k/2 hosts an edge switch (Al-Fares, Loukissas, Vahdat, SIGCOMM 2008,
    section 3)."""
    _at_least(2, k, "k")
    if k % 2:
        raise ValueError(f"k: {k}, must be even")
    half = k // 2
    graph = Graph(f"fat tree k={k}")
    core = [[graph.add_switch(f"core-{row + 1}-{column + 1}")
             for column in range(half)] for row in range(half)]
    for pod in range(k):
        middle = [graph.add_switch(f"aggregation-{pod + 1}-{n + 1}")
                  for n in range(half)]
        for row, switch in enumerate(middle):
            for top in core[row]:
                graph.add_link(switch, top)
        for number in range(half):
            edge = graph.add_switch(f"edge-{pod + 1}-{number + 1}")
            graph.add_hosts(edge, half if hosts is None else hosts)
            for switch in middle:
                graph.add_link(edge, switch)
    return graph


def multiply(graph, count):
    """Every link 'count' times, in parallel."""
    _at_least(1, count, "parallel")
    if count > 1:
        graph.links = [ends for ends in graph.links for _ in range(count)]
        graph.name += f", links times {count}"
    return graph


def add_loop(graph):
    """A cable from the first switch to itself."""
    graph.add_link(graph.switches[0], graph.switches[0])
    graph.name += ", a loop"
    return graph


# GraphML, as the Internet Topology Zoo writes it: nodes and edges, their
# attributes as <data> whose meaning is declared by <key>.

def graphml(path, hosts=None, max_hosts=16):
    """A host at each switch, or at 'max_hosts' of them, evenly spread; with
    'hosts', so many at each.  Loops from a node to itself are left out."""
    with open(path, "rb") as file:
        graph = parse_graphml(file)
    if hosts is not None:
        for switch in graph.switches:
            graph.add_hosts(switch, hosts)
        return graph
    count = min(max_hosts, len(graph.switches))
    for number in range(count):
        graph.add_hosts(
            graph.switches[number * len(graph.switches) // count], 1)
    return graph


def parse_graphml(file):
    """The switches and links of an open file.  ValueError says what is wrong
    with it."""
    try:
        root = xml.etree.ElementTree.parse(file).getroot()
    except (xml.etree.ElementTree.ParseError,
            LookupError) as error:  # An encoding that nobody knows.
        raise ValueError(f"not XML: {error}") from error
    if _tag(root) != "graphml":
        raise ValueError(f"not GraphML: the first element is {_tag(root)}")
    keys = {key.get("id"): key.get("attr.name")
            for key in root.iter() if _tag(key) == "key"
            and key.get("for") in ("node", "graph", "all", None)}
    graph = Graph(_graph_name(root, keys))
    switch_of = {}
    for node in root.iter():
        if _tag(node) == "node":
            identity = node.get("id")
            if identity is None or identity in switch_of:
                raise ValueError(f"a node's id is {identity}: missing or "
                                 "there twice")
            switch_of[identity] = graph.add_switch(
                _data(node, keys).get("label") or identity)
    for edge in root.iter():
        if _tag(edge) == "edge":
            ends = edge.get("source"), edge.get("target")
            for end in ends:
                if end not in switch_of:
                    raise ValueError(f"an edge ends at node {end}, which is "
                                     "not there")
            if ends[0] != ends[1]:
                graph.add_link(switch_of[ends[0]], switch_of[ends[1]])
    if not graph.switches:
        raise ValueError("no node")
    return graph


def _tag(element):
    """Without its name space: files differ in which one they declare."""
    return str(element.tag).rpartition("}")[2]


def _data(element, keys):
    return {keys.get(child.get("key")): (child.text or "").strip()
            for child in element if _tag(child) == "data"}


def _graph_name(root, keys):
    for element in root:
        if _tag(element) == "graph":
            data = _data(element, keys)
            return (data.get("Network") or data.get("label")
                    or element.get("id") or "GraphML")
    raise ValueError("no graph")
