#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How the controller's cost grows with switches, services and links.

    growth.py BENCH CONTROLLER OUTPUT [PART...]

Runs bench_controller part by part and writes a table and charts for
docs/controller.md."""
import json
import math
import os
import subprocess
import sys
import tempfile

PARTS = ['register:1:10000', 'register:10:100', 'register:10:1000',
         'register:10:10000', 'register:100:100', 'register:100:1000',
         'register:100:10000', 'failover:4:100', 'failover:8:100',
         'failover:16:100']

COLUMNS = [('rules', 'rules', '{:,.0f}'),
           ('cold start', 'cold_start_ms', '{:,.0f} ms'),
           ('CPU', 'cold_start_cpu_ms', '{:,.0f} ms'),
           ('registration p50', 'register_p50_ms', '{:.2f} ms'),
           ('p99', 'register_p99_ms', '{:.2f} ms'),
           ('CPU', 'register_cpu_ms', '{:.2f} ms'),
           ('memory', 'memory_mb', '{:,.0f} MB'),
           ('restart', 'restart_ms', '{:,.0f} ms'),
           ('CPU', 'restart_cpu_ms', '{:,.0f} ms')]
FAILOVER = [('p50', 'failover_p50_ms', '{:.2f} ms'),
            ('p99', 'failover_p99_ms', '{:.2f} ms'),
            ('CPU', 'failover_cpu_ms', '{:.2f} ms'),
            ('rules', 'failover_rules', '{:,.0f}')]


def run(bench, controller, part):
    """The figures of one part, by name without its size."""
    with tempfile.NamedTemporaryFile(suffix='.json') as file:
        subprocess.run([bench, controller, file.name, part], check=True)
        found = json.load(open(file.name))
    return {name.split('.')[1]: entry['value']
            for name, entry in found.items()}


def table(head, columns, rows):
    yield '| ' + ' | '.join(head + [c[0] for c in columns]) + ' |'
    yield '|' + '---|' * (len(head) + len(columns))
    for first, figures in rows:
        yield '| ' + ' | '.join(first + [
            form.format(figures[name]) if name in figures else ''
            for _, name, form in columns]) + ' |'


def chart(title, axis, points, unit):
    """Both axes logarithmic: equal steps are equal factors."""
    values = [math.log10(value) for _, value in points]
    yield '```mermaid'
    yield 'xychart-beta'
    yield f'    title "{title}"'
    yield f'    x-axis "{axis}" [{", ".join(str(x) for x, _ in points)}]'
    yield (f'    y-axis "log10 {unit}" {math.floor(min(values))} --> '
           f'{math.ceil(max(values))}')
    yield f'    line [{", ".join(f"{v:.2f}" for v in values)}]'
    yield '```'
    yield ''


def charts(registers, failovers):
    def by(which, name, fixed):
        return [(key[which], figures[name])
                for key, figures in sorted(registers.items())
                if key[1 - which] == fixed and name in figures]

    wanted = [
        ('CPU time of a registration by switches, 10,000 services',
         'edge switches', by(0, 'register_cpu_ms', 10000), 'ms'),
        ('CPU time of a registration by services, 100 edge switches',
         'services', by(1, 'register_cpu_ms', 100), 'ms'),
        ('Cold start by switches, 10,000 services', 'edge switches',
         by(0, 'cold_start_cpu_ms', 10000), 'ms of CPU'),
        ('Memory by switches, 10,000 services', 'edge switches',
         by(0, 'memory_mb', 10000), 'MB'),
        ('CPU time of a failure by links of the fat tree', 'links',
         [(k ** 3 // 2, figures['failover_cpu_ms'])
          for k, figures in sorted(failovers.items())], 'ms')]
    for title, axis, points, unit in wanted:
        if len(points) > 1:
            yield from chart(title, axis, points, unit)


def main():
    bench, controller, output, *parts = sys.argv[1:]
    registers, failovers = {}, {}
    for part in parts or PARTS:
        kind, size, services = part.split(':')
        figures = run(bench, controller, part)
        if kind == 'register':
            registers[int(size), int(services)] = figures
        else:
            failovers[int(size)] = figures
    lines = [*table(['switches', 'services'], COLUMNS,
                    [([f'{n:,}' for n in key], figures)
                     for key, figures in sorted(registers.items())]), '',
             *table(['k', 'switches', 'links'], FAILOVER,
                    [([str(k), str(5 * k * k // 4), f'{k ** 3 // 2:,}'],
                      figures) for k, figures in sorted(failovers.items())]),
             '', f'Load average at the end: {os.getloadavg()[0]:.1f}', '',
             *charts(registers, failovers)]
    with open(output, 'w') as file:
        file.write('\n'.join(lines))
    print('\n'.join(lines))


if __name__ == '__main__':
    main()
