"""Peak memory of an explanation, over the loaded model: it must not grow with 2^M.

Every case is a process of its own: the peak of a process cannot be taken back. On the CPU it is the
resident set, on CUDA what PyTorch has allocated. The chunk is the same everywhere.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import torch
from common import NETWORKS, arguments, photographs, report, start

from captum_spectral import SpectralShapley

MIB = 2**20


def peak(device: str) -> float:
    """MiB at the highest so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / MIB
    scale = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / MIB


def case(network: str, count: int, num_bands: int, chunk: int, device: str) -> dict[str, float]:
    """Peaks of the bare model on one chunk and then of the explanation, over the loaded model."""
    model = NETWORKS[network]().to(device)
    images = photographs(count).to(device)
    # Imports and what the explainer keeps for good are not part of the question.
    SpectralShapley(lambda x: x.mean((1, 2, 3))).attribute(images[:1, :, ::8, ::8], num_bands=2)
    before = peak(device)
    with torch.no_grad():
        model(images[:1].expand(chunk, -1, -1, -1).contiguous())
    bare = peak(device)
    # With one image perturbations_per_eval is the number of rows; with more it would be a multiple.
    explainer = SpectralShapley(model)
    if count == 1:
        explainer.attribute(images, 0, num_bands=num_bands, perturbations_per_eval=chunk)
    else:
        explainer.attribute(images, 0, num_bands=num_bands)
    return {"bare": bare - before, "attribute": peak(device) - before}


def main() -> None:
    """M = 8, 10, 12 with one image, then more images."""
    parser = arguments(__doc__)
    parser.add_argument("--network", default="MobileNetV3-small", choices=NETWORKS)
    parser.add_argument("--chunk", type=int, default=32)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--case", nargs=2, type=int, help="images and bands: one case, as JSON")
    args = start(parser)
    if args.case:
        print(json.dumps(case(args.network, *args.case, args.chunk, args.device)))
        return
    table = []
    for count, num_bands in [(1, 8), (1, 10), (1, 12), (4, 8), (16, 8)]:
        command = [sys.executable, __file__, "--case", str(count), str(num_bands)]
        command += ["--network", args.network, "--chunk", str(args.chunk), "--device", args.device]
        command += ["--threads", str(args.threads)] if args.threads else []
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks = json.loads(done.stdout.splitlines()[-1])
        values = 2**num_bands * count * 4 / MIB
        table.append(
            {
                "images": count,
                "M": num_bands,
                "rows": count * 2**num_bands,
                "chunk": args.chunk if count == 1 else "automatic",
                f"bare model on {args.chunk} rows, MiB": round(peaks["bare"], 1),
                "explanation, MiB": round(peaks["attribute"], 1),
                "of it table of values, MiB": round(values, 3),
            }
        )
        print(table[-1], flush=True)
    eight, twelve = table[0], table[2]
    ratio = (twelve["explanation, MiB"] - twelve["of it table of values, MiB"]) / (
        eight["explanation, MiB"] - eight["of it table of values, MiB"]
    )
    report(args, f"Peak memory, {args.network}, {args.device}", table, twelve_over_eight=ratio)
    print(f"\nM = 12 over M = 8, without the table of values: {ratio:.3f}")


if __name__ == "__main__":
    main()
