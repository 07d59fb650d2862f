"""Run a command in several processes that know each other as those of ``torchrun`` do.

``python ranks.py 2 score --model ...``: torchrun imports everything anew in every process; here
all are forked from one that has it imported and runs nothing else. If one fails the rest is ended.
"""

import os
import signal
import socket
import sys

import torch

import captum_spectral.report.importance
import captum_spectral.report.robustness_figures
import captum_spectral.sources.datasets
import captum_spectral.sources.models
import captum_spectral.studies.config  # noqa: F401  (so that no child has to)
from captum_spectral.cli import main


def start(rank, count, port, args):
    """The command in a child process, whose id this is."""
    child = os.fork()
    if child:
        return child
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "localhost"}
    os.environ |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_PORT": port}
    code = 1
    try:
        main(args)
    except SystemExit as end:
        code = end.code or 0
    except BaseException as error:
        print(repr(error), file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    torch.set_num_threads(1)
    number, *words = sys.argv[1:]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        where = str(free.getsockname()[1])
    running = {start(rank, int(number), where, words) for rank in range(int(number))}
    failed = False
    while running:
        ended, status = os.wait()
        running.discard(ended)
        if status and not failed:
            failed = True
            for other in running:
                os.kill(other, signal.SIGTERM)
    sys.exit(failed)
