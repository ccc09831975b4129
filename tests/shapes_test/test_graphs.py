# SPDX-License-Identifier: Apache-2.0
"""Unit tests of topologies/shapes.py and reachability.py: no network."""

import io
import os
import random
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))))

# pylint: disable=wrong-import-position
from topologies import reachability, shapes
from topologies.reachability import HEALTHY, Failure

SEED = int(os.environ.get("SEED", "20120425"))
EXAMPLE = f"{os.path.dirname(shapes.__file__)}/example.graphml"


def warshall(graph, failure):
    """The oracle's oracle: the transitive closure of "is next to"."""
    near = {(switch, switch) for switch in graph.switches
            if switch not in failure.switches}
    for index, (one, other) in enumerate(graph.links):
        if index not in failure.links and not {one,
                                               other} & failure.switches:
            near |= {(one, other), (other, one)}
    for middle in graph.switches:
        for one in graph.switches:
            for other in graph.switches:
                if (one, middle) in near and (middle, other) in near:
                    near.add((one, other))
    return near


def random_case(source):
    graph = shapes.Graph("random")
    for _ in range(source.randint(1, 8)):
        graph.add_hosts(graph.add_switch(), source.randint(0, 2))
    if len(graph.switches) > 1:
        for _ in range(source.randint(0, 12)):
            graph.add_link(*source.sample(graph.switches, 2))

    def some(population, share=0.2):
        return frozenset(one for one in population
                         if source.random() < share)
    return graph, Failure("random", some(range(len(graph.links))),
                          some(graph.switches), some(graph.hosts))


class Shapes(unittest.TestCase):
    def counts(self, graph, switches, links, hosts):
        self.assertEqual((len(graph.switches), len(graph.links),
                          len(graph.hosts)), (switches, links, hosts))

    def test_sizes(self):
        self.counts(shapes.line(1), 1, 0, 1)
        self.counts(shapes.line(5, hosts=2), 5, 4, 10)
        self.counts(shapes.ring(6), 6, 6, 6)
        self.counts(shapes.leaf_spine(4, 2, 3), 6, 8, 12)
        self.counts(shapes.fat_tree(4), 20, 32, 16)
        self.counts(shapes.fat_tree(8, hosts=1), 80, 256, 32)

    def test_refused_sizes(self):
        for make, size in ((shapes.line, 0), (shapes.ring, 2),
                           (shapes.fat_tree, 3), (shapes.fat_tree, 0),
                           (shapes.leaf_spine, 0), (shapes.line, 241)):
            with self.assertRaises(ValueError, msg=f"{make} {size}"):
                make(size)

    def test_degrees_of_a_fat_tree(self):
        graph = shapes.fat_tree(4)
        ports = {switch: 0 for switch in graph.switches}
        for ends in graph.links:
            for switch in ends:
                ports[switch] += 1
        for switch in graph.uplinks.values():
            ports[switch] += 1
        self.assertEqual(set(ports.values()), {4})

    def test_example_file(self):
        graph = shapes.graphml(EXAMPLE)
        self.counts(graph, 7, 9, 7)
        self.assertEqual(graph.name, "Seven Towns")
        self.assertEqual(graph.labels["s1"], "Northport")
        self.assertEqual(graph.links.count(("s6", "s7")), 2)

    def test_hosts_are_spread_over_a_file(self):
        graph = shapes.graphml(EXAMPLE, max_hosts=3)
        self.assertEqual(list(graph.uplinks.values()), ["s1", "s3", "s5"])
        self.counts(shapes.graphml(EXAMPLE, hosts=2), 7, 9, 14)

    @staticmethod
    def parse(body, head="<graphml>"):
        return shapes.parse_graphml(io.BytesIO(
            f"{head}{body}</graphml>".encode()))

    def test_files_without_labels_or_name_space(self):
        graph = self.parse('<graph><node id="a"/><node id="b"/>'
                           '<edge source="a" target="b"/>'
                           '<edge source="b" target="b"/></graph>')
        self.counts(graph, 2, 1, 0)
        self.assertEqual(graph.labels, {"s1": "a", "s2": "b"})

    def test_equal_labels_are_different_switches(self):
        graph = self.parse(
            '<key id="d" for="node" attr.name="label"/><graph>'
            '<node id="0"><data key="d">?</data></node>'
            '<node id="1"><data key="d">?</data></node></graph>')
        self.counts(graph, 2, 0, 0)

    def test_wrong_files(self):
        for body in ("", "<graph/>", "<graph><node/></graph>", "<",
                     '<graph><node id="1"/><node id="1"/></graph>',
                     '<graph><node id="1"/><edge source="1"/></graph>',
                     '<graph><node id="1"/><edge source="1" target="2"/>'
                     '</graph>'):
            with self.assertRaises(ValueError, msg=body):
                self.parse(body)
        with self.assertRaises(ValueError):
            shapes.parse_graphml(io.BytesIO(b"<svg/>"))


    # What files of the Internet Topology Zoo have, and worse.
    ODD = """<?xml version="1.0" encoding="utf-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key attr.name="Longitude" attr.type="double" for="node" id="d29"/>
  <key attr.name="label" attr.type="string" for="node" id="d33"/>
  <key attr.name="label" attr.type="string" for="edge" id="d36"/>
  <key attr.name="Network" attr.type="string" for="graph" id="d8"/>
  <graph edgedefault="undirected">
    <data key="d8">Ærø – 東京</data>
    <node id="0"><data key="d33">Zürich</data><data key="d29">8.5</data></node>
    <node id="1"><data key="d33">None</data></node>
    <node id="2"><data key="d33">None</data></node>
    <node id="n 4 &amp; x"><data key="d33"> </data></node>
    <node id="6"/>
    <edge source="0" target="1" id="e0"><data key="d36">x</data></edge>
    <edge source="0" target="1" id="e0"/>
    <edge source="1" target="1"/>
    <edge source="2" target="n 4 &amp; x" directed="true"/>
    <hyperedge><endpoint node="0"/><endpoint node="6"/></hyperedge>
  </graph>
</graphml>
"""

    def test_an_odd_file(self):
        graph = shapes.parse_graphml(io.BytesIO(self.ODD.encode()))
        self.counts(graph, 5, 3, 0)
        self.assertEqual(graph.name, "Ærø – 東京")
        self.assertEqual(list(graph.labels.values()), [
            "Zürich", "None", "None", "n 4 & x", "6"])
        self.assertEqual(graph.links, [("s1", "s2"), ("s1", "s2"),
                                       ("s3", "s4")])

    def test_mutated_files(self):
        """A graph, or a ValueError that says why not."""
        source, read, odd = random.Random(SEED), 0, self.ODD.encode()
        words = (b"<node>", b"</node>", b'id="0"', b"<graph>", b"utf-16",
                 b"utf-9", b"&#0;", b"&x;", b"<data key='d33'>", b"\xff")
        for step in range(4000):
            data = bytearray(odd)
            for _ in range(source.randint(1, 2)):
                at, n = source.randrange(len(data)), source.randrange(12)
                data[at:at + n] = source.choice((
                    b"", source.choice(words), bytes(data[at:at + n]) * 2,
                    bytes([source.randrange(256)])))
            try:
                graph = shapes.parse_graphml(io.BytesIO(data))
            except ValueError as error:
                self.assertTrue(str(error), f"SEED={SEED} step {step}")
            else:
                read += 1
                self.assertTrue(graph.switches and {
                    end for ends in graph.links for end in ends} <= set(
                        graph.switches), f"SEED={SEED} step {step}")
        self.assertGreater(read, 100, f"SEED={SEED}")


class Reachability(unittest.TestCase):
    def test_a_line_falls_apart(self):
        graph = shapes.line(4)
        broken = Failure(links=frozenset([1]))
        self.assertEqual(reachability.pings(graph, broken), {
            ("h1", "h2"), ("h2", "h1"), ("h3", "h4"), ("h4", "h3")})

    def test_a_ring_survives_any_link_but_no_two(self):
        graph = shapes.ring(4)
        for failure in reachability.single_links(graph):
            self.assertEqual(len(reachability.pings(graph, failure)), 12)
        cut = reachability.partition(graph)
        self.assertEqual(len(cut.links), 2)
        self.assertEqual(len(reachability.pings(graph, cut)), 4)

    def test_a_dead_switch_takes_its_hosts_along(self):
        graph = shapes.ring(4)
        broken = Failure(switches=frozenset(["s2"]))
        self.assertEqual(set(reachability.attached(graph, broken)),
                         {"h1", "h3", "h4"})
        self.assertEqual(len(reachability.pings(graph, broken)), 6)

    def test_a_fat_tree_survives_every_switch_but_the_edge(self):
        graph = shapes.fat_tree(4)
        for failure in reachability.single_switches(graph):
            edge = failure.switches & set(graph.uplinks.values())
            self.assertEqual(len(reachability.pings(graph, failure)),
                             14 * 13 if edge else 16 * 15, failure.name)

    def test_parallel_links(self):
        graph = shapes.line(2)
        graph.add_link("s1", "s2")
        for failure in reachability.single_links(graph):
            self.assertEqual(len(reachability.pings(graph, failure)), 2)

    def test_doubled_links_and_loops(self):
        graph = shapes.add_loop(shapes.multiply(shapes.ring(3), 2))
        self.assertEqual(len(graph.links), 7)
        for failure in reachability.single_links(graph):
            self.assertEqual(len(set(reachability.islands(
                graph, failure).values())), 1)
        parted = reachability.partition(graph)
        self.assertEqual(len(parted.links), 4)  # Not the loop.
        self.assertEqual(len(set(reachability.islands(
            graph, parted).values())), 2)

    def test_services(self):
        graph = shapes.line(3)
        cut = Failure(links=frozenset([0]))

        def ask(failure, client, *servers):
            return reachability.answers(graph, failure, client, set(servers))
        self.assertEqual(ask(HEALTHY, "h2", "h1", "h3"), {"h1", "h3"})
        self.assertEqual(ask(cut, "h2", "h1", "h3"), {"h3"})
        self.assertEqual(ask(cut, "h1", "h3"), set())
        alone = Failure(uplinks=frozenset(["h1"]))
        self.assertEqual(ask(alone, "h1", "h3"), set())
        self.assertEqual(ask(alone, "h1", "h1", "h3"), {"h1"})
        self.assertEqual(ask(alone, "h3", "h1"), set())

    def test_a_pair_for_traffic(self):
        graph = shapes.line(4)
        self.assertEqual(reachability.far_pair(graph),
                         [("h1", "h4"), ("h4", "h1")])
        del graph.links[0]  # h1 is alone.
        self.assertEqual(reachability.far_pair(graph),
                         [("h2", "h4"), ("h4", "h2")])
        graph.links.clear()
        self.assertEqual(reachability.far_pair(graph), [])

    def test_nothing_to_part(self):
        self.assertIsNone(reachability.partition(shapes.line(1)))

    def test_random_graphs_against_the_transitive_closure(self):
        for seed in range(SEED, SEED + 300):
            graph, failure = random_case(random.Random(seed))
            near = warshall(graph, failure)
            here = {host: switch for host, switch in graph.uplinks.items()
                    if host not in failure.uplinks}
            wanted = {(one, other) for one in here for other in here
                      if one != other and (here[one], here[other]) in near}
            self.assertEqual(reachability.pings(graph, failure), wanted,
                             f"SEED={seed}")
            servers = set(graph.hosts[::2])
            for client in graph.hosts:
                self.assertEqual(
                    reachability.answers(graph, failure, client, servers),
                    {client} if client in servers else
                    {server for server in servers
                     if (client, server) in wanted}, f"SEED={seed}")


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=0).result
    bad = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - bad} passed, {bad} failed")
    sys.exit(bad != 0)
