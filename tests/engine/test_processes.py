"""Models that are shared by processes, each of which has images of its own."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from methods_in_processes import COUNTS, explain, images, network

import captum_spectral


def test_processes_with_different_numbers_of_images_do_not_wait_for_each_other(tmp_path):
    script = Path(__file__).parent / "methods_in_processes.py"
    torchrun = ["-m", "torch.distributed.run", f"--nproc-per-node={len(COUNTS)}", "--standalone"]
    own = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    own["PYTHONPATH"] = str(Path(captum_spectral.__file__).parents[1])  # not one that is installed
    done = subprocess.run(
        [sys.executable, *torchrun, script, tmp_path / "result.pt"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **own},
    )
    assert done.returncode == 0, done.stderr
    for rank in range(len(COUNTS)):
        result = torch.load(tmp_path / f"result.pt.{rank}", weights_only=True)
        expected = explain(network(), images(rank))
        assert result.keys() == expected.keys()
        for name, values in expected.items():
            assert len(values) == COUNTS[rank]
            torch.testing.assert_close(result[name], values, rtol=1e-9, atol=1e-12)
