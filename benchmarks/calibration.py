"""Whether estimates are centred and reported errors true, with the metric itself.

A CNN trained on Fashion-MNIST, one random ordering and its reverse per image.

Centred: on the same images with another seed each time, the mean over repetitions is compared to
the exact mean, in standard errors of that mean ("off by"; within 3).

Calibrated: every repetition draws its images from the test set, without replacement, and has a seed
of its own. The mean reported standard error is compared to the standard deviation of the estimates
over repetitions; the goal is within 15 %. With R repetitions that standard deviation is itself
known to about 1 / sqrt(2 R), 5 % for 200, and drawing n of N images without replacement makes it
smaller by the factor sqrt(1 - n / N), which is left in.

Fashion-MNIST is looked for below ``--root``.
"""

from __future__ import annotations

from pathlib import Path

import torch
from common import arguments, report, start
from data import Pool, fashion_mnist, train_fashion_cnn
from torch import Tensor, nn

from captum_spectral import ImportanceResult, SpectralImportance


def measure(
    model: nn.Module, pool: Pool, num_bands: int, n_samples: int | None, seed: int = 0
) -> ImportanceResult:
    """The metric over all images of a pool."""
    metric = SpectralImportance(model, num_bands=num_bands, n_samples=n_samples, seed=seed)
    metric.update(pool.images, pool.labels)
    return metric.compute()


def all_of(results: list[ImportanceResult]) -> tuple[Tensor, Tensor]:
    """``(R, M)`` estimates and their reported standard errors."""
    return (
        torch.stack([result.attributions for result in results]),
        torch.stack([result.standard_error for result in results]),
    )


def main() -> None:
    """A line for every band."""
    parser = arguments(__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where Fashion-MNIST is")
    parser.add_argument("--download", action="store_true", help="fetch it if it is not there")
    parser.add_argument("--bands", type=int, default=8)
    parser.add_argument("--images", type=int, default=100, help="of a data set")
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--samples", type=int, default=1, help="orderings per image")
    parser.add_argument("--epochs", type=int, default=4, help="of training the CNN")
    args = start(parser)

    pool = fashion_mnist(args.root, download=args.download)
    model = train_fashion_cnn(args.root, args.epochs, download=args.download)
    generator = torch.Generator().manual_seed(0)

    def drawn() -> Pool:
        order = torch.randperm(len(pool.labels), generator=generator)
        return pool.take(order[: args.images])

    same = drawn()
    exact = measure(model, same, args.bands, None).attributions
    repeated, _ = all_of(
        [measure(model, same, args.bands, args.samples, seed) for seed in range(args.repetitions)]
    )
    mean, spread = repeated.mean(0), repeated.std(0)
    off = (mean - exact) / (spread / args.repetitions**0.5)
    redrawn, reported = all_of(
        [
            measure(model, drawn(), args.bands, args.samples, seed)
            for seed in range(args.repetitions)
        ]
    )
    deviation, error = redrawn.std(0), reported.mean(0)
    ratio = error / deviation
    table = [
        {
            "band": band,
            "exact": f"{exact[band]:.4f}",
            "mean estimate": f"{mean[band]:.4f}",
            "off by (standard errors)": f"{off[band]:+.1f}",
            "standard deviation, new images": f"{deviation[band]:.4f}",
            "mean reported standard error": f"{error[band]:.4f}",
            "reported / true": f"{ratio[band]:.3f}",
        }
        for band in range(args.bands)
    ]
    title = (
        f"Centred and calibrated: {args.repetitions} repetitions of {args.images} images, "
        f"n_samples = {args.samples}, M = {args.bands}"
    )
    numbers = {"off": off, "reported / true": ratio}
    report(args, title, table, **{name: x.tolist() for name, x in numbers.items()})
    print(
        f"\nLargest: {float(off.abs().max()):.1f} standard errors off the exact mean; reported "
        f"errors {float((ratio - 1).abs().max()):.1%} off the true ones."
    )


if __name__ == "__main__":
    main()
