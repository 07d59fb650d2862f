"""The metric against the recipe of the research: one pass over the data for every coalition.

The recipe, written from its description: for each of the 2^M coalitions go through the data set
again (read, decode and prepare every file), transform every image, mask it, transform it back, run
the model, average the log-likelihood over the images; then Shapley's formula. It gets our filter
(real, symmetric, nothing rescaled), the batch size at which the bare model is fastest, and always
the same images, so its attributions are our exact ones, which is checked. Ours goes through the
same files once.

Times are compared at the same standard error. The error of a mean over images falls with the square
root of their number, so a method with the mean squared standard error E (over bands) that took t
seconds reaches the recipe's error E_r in

    t * E / E_r    seconds, and the same for rows.

Bands differ in this, so the last column has the gain for the error of each band by itself, from the
smallest to the largest.

The recipe as it is described draws its images anew for every coalition. That costs the same time,
but the differences between coalitions are then also between images, and with the variance Var(T) of
the values of coalition T over images and Shapley's weights w

    E = mean over bands of sum_T w_T^2 Var(T) / N.

This line has the seconds of the recipe without it: the work is the same.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from common import NETWORKS, arguments, in_turns, report, start
from data import crops, views
from overhead import best_batch, coalition_rows
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from captum_spectral import ImportanceResult, SpectralImportance, band_mask
from captum_spectral.coalitions import all_coalitions, shapley_from_table, shapley_weights
from captum_spectral.sources.images import load_photograph
from captum_spectral.sources.models import load_model


class Files(Dataset[tuple[Tensor, int]]):
    """Views as JPEG files; each is read, decoded and prepared whenever it is asked for."""

    def __init__(self, folder: Path, count: int) -> None:
        self._prepare = load_model("efficientnet-lite0").prepare
        self._labels = views(count).labels.tolist()
        self._paths = [folder / f"{i:04d}.jpg" for i in range(count)]
        self.reads = 0
        for path, image in zip(self._paths, crops(count), strict=True):
            image.save(path, quality=95)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.reads += 1
        return self._prepare(load_photograph(self._paths[index]))[0], self._labels[index]


@torch.no_grad()
def recipe(model: nn.Module, loader: DataLoader[Any], bands: Tensor) -> Tensor:
    """``(N, 2^M)`` values, one pass over the files per coalition."""
    table = []
    for coalition in all_coalitions(int(bands.max()) + 1):
        kept, values = coalition[bands], []
        for images, labels in loader:
            filtered = torch.fft.ifft2(torch.fft.fft2(images) * kept).real
            outputs = model(filtered).log_softmax(1)
            values.append(outputs.gather(1, labels[:, None])[:, 0])
        table.append(torch.cat(values))
    return torch.stack(table, 1).double()


class Pass(NamedTuple):
    """What one pass took and gave, errors for every band."""

    reads: int
    rows: int
    seconds: float
    squared_errors: Tensor


def line(name: str, one: Pass, reference: Pass) -> dict[str, Any]:
    """A pass, and what it would take to the error of another."""
    error = float(one.squared_errors.mean())
    repeats = error / float(reference.squared_errors.mean())
    gains = reference.seconds / one.seconds * reference.squared_errors / one.squared_errors
    return {
        "method": name,
        "files read": one.reads,
        "model rows": one.rows,
        "seconds": round(one.seconds, 2),
        "mean squared standard error": f"{error:.3g}",
        "rows to the recipe's error": round(one.rows * repeats),
        "seconds to it": round(one.seconds * repeats, 2),
        "recipe / this": round(reference.seconds / one.seconds / repeats, 2),
        "band by band": f"{float(gains.min()):.2g} to {float(gains.max()):.2g}",
    }


def main() -> None:
    """Everything in turns, then everything at the recipe's standard error."""
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--network", default="EfficientNet-Lite0", choices=NETWORKS)
    parser.add_argument("--bands", type=int, default=8)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=4, help="of sampled orderings, per round")
    args = start(parser)
    model, m = NETWORKS[args.network](), args.bands
    with TemporaryDirectory() as folder:
        files = Files(Path(folder), args.images)
        first = files[0][0][None]
        batch = min(best_batch(model, coalition_rows(first, m)), args.images)
        loader, bands = DataLoader(files, batch), band_mask(first.shape[-2:], m)
        values: list[Tensor] = []
        found: dict[str, list[ImportanceResult]] = {"exact": [], "n_samples=1": []}
        reads: dict[str, int] = {}

        def counted(name: str, task: Callable[[], Any]) -> Callable[[], None]:
            def run() -> None:
                files.reads = 0
                task()
                reads[name] = files.reads

            return run

        def ours(kind: str, **options: Any) -> None:
            metric = SpectralImportance(model, num_bands=m, **options)
            found[kind].append(metric.evaluate(DataLoader(files, args.images), show_progress=False))

        tasks = {
            "recipe": counted("recipe", lambda: values.append(recipe(model, loader, bands))),
            "exact": counted("exact", lambda: ours("exact")),
            **{
                seed: counted(
                    "n_samples=1", lambda s=seed: ours("n_samples=1", n_samples=1, seed=s)
                )
                for seed in range(args.seeds)
            },
        }
        times = in_turns(tasks, args.rounds)

    exact = shapley_from_table(values[0])
    difference = float((exact.mean(0) - found["exact"][0].attributions).abs().max())
    if difference > 1e-3 * float(exact.mean(0).abs().max()):
        raise RuntimeError(f"the recipe and exact values differ by {difference:.1e}")

    def of_ours(kind: str, seconds: float) -> Pass:
        results = found[kind]
        squared = torch.stack([r.covariance.diagonal() for r in results]).mean(0)
        return Pass(reads[kind], results[0].num_rows, seconds, squared)

    rows, seconds = values[0].numel(), statistics.median(times["recipe"])
    shuffled = shapley_weights(m).square() @ values[0].var(0)
    reference = Pass(reads["recipe"], rows, seconds, exact.var(0) / len(exact))
    each = [t for seed in range(args.seeds) for t in times[seed]]
    passes = {
        "recipe, other images for every coalition": reference._replace(
            squared_errors=shuffled / len(exact)
        ),
        "recipe": reference,
        "SpectralImportance, exact": of_ours("exact", statistics.median(times["exact"])),
        "SpectralImportance, n_samples=1": of_ours("n_samples=1", statistics.median(each)),
    }
    title = (
        f"The recipe of the research, {args.network}, {args.images} images, M = {m}, batches of "
        f"{batch}, {args.rounds} round(s)"
    )
    errors = {name: p.squared_errors.tolist() for name, p in passes.items()}
    report(
        args,
        title,
        [line(name, one, reference) for name, one in passes.items()],
        difference=difference,
        squared_errors=errors,
        times={str(task): t for task, t in times.items()},
    )


if __name__ == "__main__":
    main()
