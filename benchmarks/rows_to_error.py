"""How many model rows a standard error costs: sampled orderings against exact values per image.

The error of a mean over images comes from two sources. Images differ by the variance V of their
exact attributions, and one random ordering with its reverse misses those of its image by the
variance W (the mean over images), W/k for k of them, so that

    rows to the standard error s, exact:            2^M V / s^2
    rows to the standard error s, n_samples = k:    (2 k (M - 1) + 2) (V + W/k) / s^2

and their ratio does not depend on s. All 2^M values of every image are computed once; W comes from
orderings drawn over them, which costs no rows. That this is what ``SpectralImportance`` gives is
checked for some images with the orderings of its own seed, estimates and reported errors alike.

Views of one photograph are not independent images. The intervals for photographs therefore resample
the photographs with all their views, and with seven of them say little more than how much the ratio
hangs on single ones. The lines "one view each" have V from data sets of one view per photograph.

Fashion-MNIST is looked for below ``--root``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from common import arguments, efficientnet_lite0, report, start
from data import Pool, accuracy, fashion_mnist, train_fashion_cnn, views
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from captum_spectral import BandGame, SpectralImportance
from captum_spectral._engine.draws import ImageDraws
from captum_spectral.coalitions import OwnOrderings, all_coalitions, shapley_from_table

PHOTOGRAPHS, FASHION = "EfficientNet-Lite0, views of photographs", "CNN, Fashion-MNIST"


def log_likelihood(model: nn.Module) -> Any:
    """The value of a row: nats for its class."""

    def of(images: Tensor, labels: Tensor) -> Tensor:
        return model(images).log_softmax(1).gather(1, labels[:, None])[:, 0]

    return of


def all_values(model: nn.Module, pool: Pool, num_bands: int) -> Tensor:
    """``(N, 2^M)`` values of all coalitions of every image."""
    game = BandGame(
        log_likelihood(model),
        pool.images,
        num_bands=num_bands,
        additional_forward_args=(pool.labels,),
    )
    return game.evaluate(all_coalitions(num_bands), show_progress=True).double()


def estimates(values: Tensor, orderings: Tensor) -> Tensor:
    """``(N, M)`` estimates from orderings ``(N, n, M)``, with values looked up in the table."""
    drawn = OwnOrderings(orderings)
    codes = (drawn.coalitions.long() << torch.arange(orderings.shape[-1])).sum(-1)
    return drawn.estimate(values.gather(1, codes)).values


class Spread(NamedTuple):
    """What is known of every image: its exact attributions, the variance of one pair."""

    exact: Tensor
    of_a_pair: Tensor


def spread_of(values: Tensor, draws: int, seed: int = 0) -> Spread:
    """Exact attributions, and the variance over ``draws`` orderings with their reverses."""
    num_images, num_bands = len(values), values.shape[1].bit_length() - 1
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.stack(
        [
            estimates(values, torch.rand(num_images, 1, num_bands, generator=generator).argsort(-1))
            for _ in range(draws)
        ]
    )
    exact, of_a_pair = shapley_from_table(values), pairs.var(0)
    error = (pairs.mean((0, 1)) - exact.mean(0)).abs()
    allowed = 5 * (of_a_pair.mean(0) / draws / num_images).sqrt() + 1e-9
    if bool((error > allowed).any()):
        raise RuntimeError("orderings over the table are not centred on the exact attributions")
    return Spread(exact, of_a_pair)


def sampled_rows(k: int, num_bands: int) -> int:
    """Model rows per image of ``n_samples=k``."""
    return 2 * k * (num_bands - 1) + 2


def ratios(between: Tensor, of_a_pair: Tensor, k: int) -> Tensor:
    """Rows of exact values over rows of ``n_samples=k``, both to the same error, ``(..., M)``."""
    num_bands = between.shape[-1]
    sampled = sampled_rows(k, num_bands) * (between + of_a_pair / k)
    return 2**num_bands * between / sampled


def resampled(spread: Spread, groups: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """``(times, M)`` variances between images and of a pair; groups are drawn, not images."""
    num_groups = int(groups.max()) + 1
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(num_groups, (times, num_groups), generator=generator)
    counts = torch.zeros(times, num_groups, dtype=torch.float64)
    counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
    weights = counts[:, groups]
    total = weights.sum(1, keepdim=True)
    centred = spread.exact - spread.exact.mean(0)
    mean = weights @ centred / total
    between = (weights @ centred.square() / total - mean.square()) * total / (total - 1)
    return between.clamp(min=0), weights @ spread.of_a_pair / total


def one_of_each(exact: Tensor, groups: Tensor, draws: int = 1000) -> Tensor:
    """``(M,)`` variance between images in data sets of one image per group."""
    generator = torch.Generator().manual_seed(0)
    members = [(groups == g).nonzero()[:, 0] for g in groups.unique()]
    chosen = torch.stack(
        [m[torch.randint(len(m), (draws,), generator=generator)] for m in members], 1
    )
    return exact[chosen].var(1).mean(0)


def against_the_metric(model: nn.Module, pool: Pool, values: Tensor, k: int) -> float:
    """The largest difference of the metric from the table, as a share of the largest attribution.

    Of estimates and of standard errors, for the images of ``pool`` and the same seed.
    """
    num_bands = values.shape[1].bit_length() - 1
    metric = SpectralImportance(model, num_bands=num_bands, n_samples=k, seed=k)
    metric.update(pool.images, pool.labels)
    result = metric.compute()
    looked_up = estimates(values, ImageDraws(pool.images, k).orderings(num_bands, k))
    error = (result.attributions - looked_up.mean(0)).abs().max()
    of_error = (result.standard_error - looked_up.std(0) / len(looked_up) ** 0.5).abs().max()
    difference = float(max(error, of_error) / looked_up.mean(0).abs().max())
    if difference > 1e-3:
        raise RuntimeError(f"SpectralImportance is {difference:.1%} away from the table of values")
    if result.num_rows != len(values) * sampled_rows(k, num_bands):
        raise RuntimeError(f"SpectralImportance took {result.num_rows} rows")
    return difference


def with_interval(value: Tensor, draws: Tensor) -> str:
    """A number and where 95 % of the resampled ones lie."""
    low, high = draws.quantile(torch.tensor([0.025, 0.975], dtype=draws.dtype)).tolist()
    return f"{float(value):.1f} [{low:.1f}, {high:.1f}]"


def table_of(name: str, spread: Spread, groups: Tensor, checks: dict[int, float]) -> list[Any]:
    """A line for every number of orderings, and another where images come in groups."""
    largest = int(spread.exact.mean(0).abs().argmax())
    between, of_a_pair = spread.exact.var(0), spread.of_a_pair.mean(0)
    drawn = resampled(spread, groups, 2000)

    def line(variant: str, count: int, k: int, found: Tensor, **cells: str) -> dict[str, Any]:
        return {
            "network, images": variant,
            "N": count,
            "n_samples": k,
            "rows per image": sampled_rows(k, len(found)),
            **{f"band {i}": round(float(r), 1) for i, r in enumerate(found)},
            "mean over bands": f"{float(found.mean()):.1f}",
            "largest band": f"{float(found[largest]):.1f}",
            "off the table by": "",
            **cells,
        }

    table = []
    for k, check in checks.items():
        found, again = ratios(between, of_a_pair, k), ratios(*drawn, k)
        cells = {
            "mean over bands": with_interval(found.mean(), again.mean(1)),
            "largest band": with_interval(found[largest], again[:, largest]),
            "off the table by": f"{check:.0e}",
        }
        table.append(line(name, len(groups), k, found, **cells))
    count = len(groups.unique())
    if count < len(groups):
        alone = one_of_each(spread.exact, groups)
        table += [
            line(f"{name}, one view each", count, k, ratios(alone, of_a_pair, k)) for k in checks
        ]
    return table


def summary(spread: Spread, samples: list[int]) -> dict[str, Any]:
    """What the ratios are made of."""
    exact, between, of_a_pair = spread.exact.mean(0), spread.exact.var(0), spread.of_a_pair.mean(0)
    of = torch.stack([ratios(between, of_a_pair, k) for k in samples])
    return {
        "best n_samples, mean over bands": samples[int(of.mean(1).argmax())],
        "best n_samples, each band": [samples[i] for i in of.argmax(0).tolist()],
        "largest band": int(exact.abs().argmax()),
        "attributions": exact.tolist(),
        "variance between images": between.tolist(),
        "variance of one ordering and its reverse": of_a_pair.tolist(),
    }


def main() -> None:
    """Tables of values, checked and summed up."""
    parser = arguments(__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where Fashion-MNIST is")
    parser.add_argument("--download", action="store_true", help="fetch it if it is not there")
    parser.add_argument("--cache", type=Path, help="a .safetensors file that keeps the values")
    parser.add_argument("--bands", type=int, default=8)
    parser.add_argument("--views", type=int, default=98, help="default: %(default)s")
    parser.add_argument("--images", type=int, default=1000, help="of Fashion-MNIST")
    parser.add_argument("--samples", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--draws", type=int, default=256, help="orderings per image, for W")
    parser.add_argument("--checked", type=int, default=4, help="images checked with the metric")
    parser.add_argument("--epochs", type=int, default=4, help="of training the CNN")
    args = start(parser)

    test = fashion_mnist(args.root, download=args.download)
    cnn = train_fashion_cnn(args.root, args.epochs, download=args.download)
    found = accuracy(cnn, test)
    print(f"The CNN classifies {found:.1%} of {len(test.labels)} test images.", flush=True)
    chosen = torch.randperm(len(test.labels), generator=torch.Generator().manual_seed(0))
    cases = {
        PHOTOGRAPHS: (efficientnet_lite0(), views(args.views)),
        FASHION: (cnn, test.take(chosen[: args.images])),
    }
    known = load_file(args.cache) if args.cache and args.cache.exists() else {}
    table: list[dict[str, Any]] = []
    summaries = {}
    for name, (model, pool) in cases.items():
        values = known.get(name)
        if values is None or values.shape != (len(pool.labels), 2**args.bands):
            values = known[name] = all_values(model, pool, args.bands)
            if args.cache:
                save_file(known, args.cache)
        few = torch.arange(min(args.checked, len(values)))
        checks = {
            k: against_the_metric(model, pool.take(few), values[few], k) for k in args.samples
        }
        spread = spread_of(values, args.draws)
        table += table_of(name, spread, pool.groups, checks)
        summaries[name] = summary(spread, args.samples)
        print(name, *(f"{key}: {x}" for key, x in summaries[name].items()), sep="\n  ", flush=True)
    title = f"Rows, exact over sampled orderings, same standard error, M = {args.bands}"
    report(args, title, table, accuracy=found, networks=summaries)


if __name__ == "__main__":
    main()
