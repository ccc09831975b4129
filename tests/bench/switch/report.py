# SPDX-License-Identifier: Apache-2.0
"""Figures: `bench NAME VALUE UNIT` on standard output and as JSON."""

import json
import os
import statistics


class Report:
    def __init__(self, path, keep):
        """'keep': figures of an earlier run that this one leaves out stay."""
        self.path = path
        self.figures = {}
        if keep and os.path.exists(path):
            with open(path) as file:
                self.figures = json.load(file)

    def put(self, name, value, unit):
        text = "%.0f" % value if abs(value) >= 100 else "%.4g" % value
        print("bench %s %s %s" % (name, text, unit), flush=True)
        self.figures[name] = {"value": value, "unit": unit}

    def put_samples(self, name, samples, unit):
        """The median, and how far the samples are apart."""
        self.put(name, statistics.median(samples), unit)
        if len(samples) >= 2:
            deciles = statistics.quantiles(samples, n=10,
                                           method="inclusive")
            self.put(name + ".p10", deciles[0], unit)
            self.put(name + ".p90", deciles[-1], unit)

    def save(self):
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path + ".new", "w") as file:
            json.dump(self.figures, file, indent=1, sort_keys=True)
            file.write("\n")
        os.replace(self.path + ".new", self.path)
