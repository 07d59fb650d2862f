"""Kill a study at twenty random moments, start it anew each time, and compare the end.

A script of its own: children are forked from a process that has everything imported and runs
nothing else. Prints a JSON record.
"""

import csv
import json
import os
import random
import signal
import sys
import time
from functools import partial
from pathlib import Path

import torch

import captum_spectral.report.robustness as report
import captum_spectral.report.robustness_figures as figures
import captum_spectral.studies.config  # noqa: F401  (so that no child has to)
from captum_spectral.cli import main
from captum_spectral.sources.checkpoints import read_checkpoint

KILLS = 20


def run(out):
    """The command in a child process, whose id this is."""
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        try:
            main(["study", sys.argv[-1], "--out", out], standalone_mode=False)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return child


def cells(out):
    """Name to the time of its making; every one is whole, or reading raises."""
    found = {}
    for path in Path(out, "cells").glob("*.safetensors"):
        read_checkpoint(path)
        found[path.name] = path.stat().st_mtime_ns
    return found


def rows(out):
    with open(Path(out, "table.csv")) as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    # What is made of the cells at the end of each run is quick; the table needs none of it.
    report.findings = partial(report.findings, num_resamples=20)
    figures.figures = lambda *args: {}
    begin = time.monotonic()
    child = run("whole")
    _, status = os.waitpid(child, 0)
    assert status == 0
    length = time.monotonic() - begin
    chance, kills, lost, partly, known = random.Random(0), 0, 0, 0, {}
    total = len(cells("whole"))
    while kills < KILLS:
        child = run("killed")
        time.sleep(chance.uniform(0.05, 0.3 * length))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
        found = cells("killed")
        lost += len(known.items() - found.items())
        known = found
        partly += 0 < len(found) < total
    _, status = os.waitpid(run("killed"), 0)
    assert status == 0
    record = {"kills": kills, "cells lost": lost, "in the midst": partly}
    print(json.dumps({**record, "same": rows("killed") == rows("whole")}))
