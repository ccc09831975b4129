# SPDX-License-Identifier: Apache-2.0
"""What a run says: PASS and FAIL lines with their figure, progress, counts."""

import math
import os
import sys
import time


class Report:
    """Collects and prints results.

        PASS  what was checked                              its figure

    The counts survive a fork: they are also written to a pipe, so that the
    process outside a sandbox can sum up (see counts())."""

    def __init__(self):
        self._read, self._write = os.pipe()

    def check(self, passed, what, figure=""):
        """Reports one check; returns whether it passed."""
        return self._line("PASS" if passed else "FAIL", what, figure)

    def skip(self, what, why):
        self._line("SKIP", what, why)

    def _line(self, verdict, what, figure):
        line = f"{verdict}  {what:<50}  {figure}".rstrip()
        if sys.stdout.isatty():
            colour = {"PASS": 32, "FAIL": 31, "SKIP": 33}[verdict]
            line = f"\033[{colour}m{verdict}\033[0m{line[4:]}"
        print(line, flush=True)
        os.write(self._write, verdict[0].encode())
        return verdict == "PASS"

    def counts(self):
        """(passed, failed, skipped) of all processes; once, at the end."""
        os.close(self._write)
        with os.fdopen(self._read, "rb") as pipe:
            verdicts = pipe.read()
        return tuple(verdicts.count(letter) for letter in (b"P", b"F", b"S"))

    def finish(self, status):
        """Sums up at the end.  'status' is that of the sandbox: who died
        without a word has failed.  Returns the exit status of the whole."""
        passed, failed, skipped = self.counts()
        if status == 130:
            print("interrupted")
            return status
        failed += bool(status and not failed)
        print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
        return 1 if failed else 0


def title(text):
    print(f"\n{text}", flush=True)


def note(text):
    """Something to read, indented."""
    for line in text.rstrip("\n").split("\n"):
        print(f"      {line}", flush=True)


class Progress:
    """'what  123 of 400' on one line of a terminal; a line each quarter
    elsewhere.  Nothing at all before a second has passed."""

    def __init__(self, what, total):
        self._what, self._total = what, total
        self._start = time.monotonic()
        self._last = 0.0
        self._next_quarter = total / 4

    def update(self, done):
        now = time.monotonic()
        if sys.stdout.isatty():
            if now - self._last > 0.1:
                self._last = now
                print(f"\r      {self._what}  {done} of {self._total}",
                      end="", flush=True)
        elif done >= self._next_quarter:
            self._next_quarter += self._total / 4
            if now - self._start > 1:
                print(f"      {self._what}  {done} of {self._total}",
                      flush=True)

    def done(self):
        if sys.stdout.isatty():
            print("\r\033[K", end="", flush=True)


def chi_square(observed, weights):
    """Goodness of fit of counts to weights: (statistic, probability of a
    value this large or larger by chance)."""
    total, scale = sum(observed), sum(weights)
    statistic = sum((seen - total * weight / scale) ** 2
                    / (total * weight / scale)
                    for seen, weight in zip(observed, weights))
    return statistic, chi_square_tail(statistic, len(weights) - 1)


def chi_square_tail(statistic, freedom):
    """P(X >= statistic), X chi-square distributed with 'freedom' degrees.
    Recurrence on the degrees, Abramowitz and Stegun 26.4.4 and 26.4.5."""
    half = statistic / 2
    if freedom % 2:
        tail, term, n = math.erfc(math.sqrt(half)), math.sqrt(
            half / math.pi) * 2 * math.exp(-half), 1
    else:
        tail, term, n = math.exp(-half), half * math.exp(-half), 2
    while n < freedom:
        tail += term
        n += 2
        term *= statistic / n
    return tail
