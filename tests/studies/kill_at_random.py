"""Kill a run of ``score`` at twenty random moments, resume it each time, and compare the end.

A script of its own: children are forked from a process that has everything imported and runs
nothing else. Prints a JSON record.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import captum_spectral.report.importance
import captum_spectral.sources.datasets
import captum_spectral.sources.models  # so that no child has to
from captum_spectral.cli import main
from captum_spectral.sources.checkpoints import read_checkpoint

PICTURES, KILLS = 240, 20


def run(out, *args):
    """The command in a child process, whose id this is."""
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        try:
            main(["score", *ARGS, "--out", out, *args], standalone_mode=False)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return child


def result_of(out):
    return json.loads(Path(out, "importance.json").read_text())["models"][0]["result"]


def progress_of(out):
    files = list(Path(out).glob("checkpoint*.safetensors"))
    return read_checkpoint(files[0]).progress["done"] if files else 0  # whole, or it raises


ARGS = ["--model", sys.argv[-1], "--data", "many", "--bands", "3", "--batch-size", "2"]
ARGS += ["--samples", "exact", "--perturbations-per-eval", "1", "--save-every", "0"]

if __name__ == "__main__":
    torch.set_num_threads(1)
    # No saved number is in it.
    captum_spectral.report.importance.figure = lambda *args: {"png": b"no picture"}
    Path("many").mkdir()
    for i in range(PICTURES):
        pixels = np.random.default_rng(i).integers(0, 255, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(f"many/{i}.png")
    begin = time.monotonic()
    child = run("whole")
    while not progress_of("whole"):
        time.sleep(0.01)
    start_up = time.monotonic() - begin
    _, status = os.waitpid(child, 0)
    assert status == 0
    chance = random.Random(0)
    kills, furthest = 0, 0
    while kills < KILLS:
        child = run("killed", "--resume")
        if kills % 2:  # in the midst of pictures, however long this machine takes to begin
            while progress_of("killed") == furthest:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.1))
        else:
            time.sleep(chance.uniform(0.02, start_up + 0.25))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) == -signal.SIGKILL:
            kills += 1
            done = progress_of("killed")
            assert done >= furthest, "something that had been saved is lost"
            furthest = max(furthest, done)
        else:
            raise AssertionError("the run is too short to be killed twenty times")
    _, status = os.waitpid(run("killed", "--resume"), 0)
    assert status == 0
    same = result_of("killed") == result_of("whole")
    print(json.dumps({"kills": kills, "furthest": furthest, "same": same}))
