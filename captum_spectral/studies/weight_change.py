"""The effect of a change of weights: on outputs, by layer, by band of the image, inside."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from captum_spectral._arguments import check_count, format_labels
from captum_spectral._engine.outputs import OutputOf, class_logits
from captum_spectral.attr.spectral_shapley import SpectralShapley
from captum_spectral.features.band_mask import band_frequencies, band_mask, fitting_band_mask
from captum_spectral.features.painting import band_sums
from captum_spectral.studies.comparison import ComparisonSettings, layer_values, standard_error
from captum_spectral.weights import RoundedWeights, WeightGame
from captum_spectral.weights.calibration import Calibration, Runner, batches_of
from captum_spectral.weights.changes import LayerChange, module_of, weights_of

__all__ = ["ChangedLayer", "LayerNoise", "Mean", "PairedBands", "WeightChange", "weight_change"]


class Mean(NamedTuple):
    """A mean over images.

    Attributes:
        value: The mean.
        error: Its standard error; NaN for one image.
    """

    value: float
    error: float


@dataclass(frozen=True)
class ChangedLayer:
    """One layer that differs.

    Attributes:
        name: In ``named_modules()``.
        relative_change: Norm of what differs over that of the first model's weights.
        value: What its change adds to the log-likelihood, in nats.
    """

    name: str
    relative_change: float
    value: Mean


@dataclass(frozen=True)
class PairedBands:
    """Shapley values of the image's bands for the log-likelihoods of both models, in nats.

    Attributes:
        frequencies: Lowest and highest of each band, cycles per pixel, ``(M, 2)``.
        model: Of the first model, by band.
        other: Of the second.
        change: Second less first, whose error is that of the differences image by image.
    """

    frequencies: Tensor
    model: list[Mean]
    other: list[Mean]
    change: list[Mean]


@dataclass(frozen=True)
class LayerNoise:
    """The distance of a layer's outputs in the two models, by frequency.

    Attributes:
        name: Of the convolution.
        size: Of its output, per dim.
        ratio: ``(M,)``, energy of the difference over that of the first model's output, in bands
            of equal width up to the Nyquist frequency of the output itself. Small maps have fewer.
    """

    name: str
    size: tuple[int, ...]
    ratio: Tensor


@dataclass(frozen=True)
class WeightChange:
    """All that is known of a change of weights.

    Attributes:
        num_examples: How many images there were.
        labelled: Whether they had labels; else the first model's classes stand for them.
        agreement: Share of images for which both predict the same class.
        accuracy: Of both models, None without labels.
        log_likelihood: Of the classes, of both models, in nats.
        change: Second less first.
        layers: Those that differ, in the order of the model; their values sum to ``change``.
        method: How the layers' values were computed.
        gap: Their sum less ``change``: 0 to rounding, or the error of the integration.
        bands: Of the image; None where there are none.
        noise: Inside the network, in the order of the model.
    """

    num_examples: int
    labelled: bool
    agreement: Mean
    accuracy: tuple[Mean, Mean] | None
    log_likelihood: tuple[Mean, Mean]
    change: Mean
    layers: list[ChangedLayer]
    method: str
    gap: float
    bands: PairedBands | None
    noise: list[LayerNoise]

    def __repr__(self) -> str:
        layers = sorted(self.layers, key=lambda layer: -abs(layer.value.value))
        most = "".join(f", {each.name!r} most: {each.value.value:+.3g}" for each in layers[:1])
        return (
            f"WeightChange({self.num_examples} images, the same class for "
            f"{self.agreement.value:.1%}, log-likelihood {self.change.value:+.3g} +- "
            f"{self.change.error:.2g} nats; {len(self.layers)} layers differ{most})"
        )


def weight_change(
    model: nn.Module,
    other: nn.Module | RoundedWeights | Mapping[str, Tensor],
    loader: Calibration,
    *,
    num_bands: int = 4,
    max_examples: int | None = None,
    most_exact: int = 6,
    n_steps: int = 16,
    show_progress: bool = False,
) -> WeightChange:
    r"""Compare a classifier with itself on other weights: rounded, restored, pruned, fine-tuned.

    In log-likelihoods of the labels, or where there are none of the classes of the first model:
    how much of it is lost, which layers lost it, which bands of the images it was lost from, and
    how large the difference is inside, as :math:`|P_b(y - y')|^2 / |P_b y|^2` of every
    convolution's output.

    Args:
        model: Gives logits ``(B, classes)``; never changed.
        other: The same with other weights, by the same names; what
            :func:`~captum_spectral.weights.quantize_weights` returned; or a state dict.
        loader: Images ``(B, C, H, W)``, signals ``(B, C, T)`` or volumes, or batches of them or of
            ``(images, labels)``. Inputs ``(B, N)`` have no bands.
        num_bands: Bands of the image and of the outputs of layers; 0: none of these. Default: 4
        max_examples: Images that are looked at. Default: None, all
        most_exact: Layers up to which their values are Shapley values, of ``2^P`` forward passes;
            beyond, IntegratedGradients over the gates of the layers. Default: 6
        n_steps: Its points. Default: 16
        show_progress: Show progress bars, in model rows. Default: False

    Returns:
        :class:`WeightChange`; all errors are standard errors over images.

    Raises:
        TypeError: Models that are no modules, batches of another kind.
        ValueError: Models whose names or shapes differ or whose weights do not, training mode,
            outputs that are no logits, images that are not finite or none at all; some batches
            with labels and some without.

    Cost in model rows per image: ``2^P`` for up to ``most_exact`` layers, else ``n_steps`` with
    gradients; ``2 * 2^num_bands``; and 4.

    Example::

        >>> import torch
        >>> from captum_spectral.studies.weight_change import weight_change
        >>> from captum_spectral.weights import quantize_weights
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(),
        ...                             torch.nn.Flatten(), torch.nn.Linear(144, 5)).eval()
        >>> found = weight_change(model, quantize_weights(model, 3), torch.rand(4, 3, 8, 8))
        >>> [layer.name for layer in found.layers]
        ['0', '3']
        >>> len(found.bands.change), found.noise[0].ratio.shape
        (4, torch.Size([4]))
    """
    bands = check_count("num_bands", num_bands, 0)
    settings = ComparisonSettings(
        most_exact=most_exact, n_steps=n_steps, show_progress=show_progress
    )
    weights_of(model, other, "other")
    other = module_of(other, "other", model)
    runs = Runner(model, "model"), Runner(other, "other")
    x, labels = _collected(loader, max_examples, runs[0].device)
    outputs, noise = _outputs(runs, (model, other), x, bands)
    classes = outputs[0].argmax(1).cpu() if labels is None else labels
    format_labels(classes, len(x), outputs[0].shape[1])
    likely = [o.cpu().double().log_softmax(1).gather(1, classes[:, None])[:, 0] for o in outputs]
    first, second = (OutputOf(each, _log_likelihoods) for each in (model, other))
    game = WeightGame(second, x, classes, baselines=first)
    assert isinstance(game.change, LayerChange)
    solved = layer_values(game, settings)
    layers = [
        ChangedLayer(name.removeprefix("forward_func").removeprefix("."), relative, mean_of(column))
        for name, relative, column in zip(
            game.names, game.change.relative_changes(), solved.values.T, strict=True
        )
    ]
    right = [(o.argmax(1).cpu() == classes).double() for o in outputs]
    return WeightChange(
        num_examples=len(x),
        labelled=labels is not None,
        agreement=mean_of((outputs[0].argmax(1) == outputs[1].argmax(1)).double().cpu()),
        accuracy=None if labels is None else (mean_of(right[0]), mean_of(right[1])),
        log_likelihood=(mean_of(likely[0]), mean_of(likely[1])),
        change=mean_of(likely[1] - likely[0]),
        layers=layers,
        method=solved.method,
        gap=float((solved.values.sum(1) - solved.change).mean()),
        bands=(
            _bands((first, second), x, classes, bands, show_progress)
            if bands and x.dim() > 2
            else None
        ),
        noise=noise,
    )


def _log_likelihoods(returned: Any) -> Tensor:
    return class_logits(returned).log_softmax(1)


def _collected(
    loader: Calibration, max_examples: int | None, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Return all images, on a device, and their labels if they have any."""
    most = None if max_examples is None else check_count("max_examples", max_examples)
    images: list[Tensor] = []
    labels: list[Tensor] = []
    for x, given in batches_of(loader, "loader", device):
        images.append(x)
        if given is not None:
            labels.append(format_labels(given, len(x)))
        if most is not None and sum(map(len, images)) >= most:
            break
    if labels and len(labels) != len(images):
        raise ValueError("loader must give labels with every batch or with none")
    return torch.cat(images)[:most], (torch.cat(labels)[:most] if labels else None)


@contextlib.contextmanager
def _watched(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Keep the outputs of a model's convolutions, by name, until the end of the context."""
    outputs: dict[str, list[Tensor]] = {}

    def keeping(name: str) -> Any:
        def hook(module: nn.Module, given: Any, output: Tensor) -> None:
            outputs.setdefault(name, []).append(output)

        return hook

    handles = [
        module.register_forward_hook(keeping(name))
        for name, module in model.named_modules()
        if isinstance(module, _ConvNd)
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _outputs(
    runs: tuple[Runner, Runner], models: tuple[nn.Module, nn.Module], x: Tensor, num_bands: int
) -> tuple[list[Tensor], list[LayerNoise]]:
    """Return the logits of both models, and the noise spectrum at every convolution."""
    logits: list[list[Tensor]] = [[], []]
    sums: dict[str, Tensor] = {}
    sizes: dict[str, tuple[int, ...]] = {}
    for part in x.split(8):
        kept = []
        for i, (run, model) in enumerate(zip(runs, models, strict=True)):
            with _watched(model) as outputs:
                logits[i].append(run.logits(part))
            kept.append(outputs)
        for name in kept[0] if num_bands else ():
            for y, z in zip(kept[0][name], kept[1].get(name, ()), strict=True):
                size = tuple(y.shape[2:])
                sizes.setdefault(name, size)
                if size == sizes[name]:
                    sums[name] = sums.get(name, 0) + _energies(y, z, num_bands)
    noise = [LayerNoise(name, sizes[name], both[0] / both[1]) for name, both in sums.items()]
    return [torch.cat(parts) for parts in logits], noise


def _energies(y: Tensor, z: Tensor, num_bands: int) -> Tensor:
    """Return the energies ``(2, M)`` of ``z - y`` and ``y`` by band, of fewer where they fit."""
    dims = tuple(range(2 - y.dim(), 0))
    mask = fitting_band_mask(y.shape[2:], num_bands)
    spectra = torch.fft.fftn(torch.stack([z - y, y]).float(), dim=dims).abs().square()
    return band_sums(spectra.cpu().double(), mask, spectral_dims=dims)


def _bands(
    models: tuple[nn.Module, nn.Module],
    x: Tensor,
    classes: Tensor,
    num_bands: int,
    show_progress: bool,
) -> PairedBands:
    """Return the bands' values for both models, on the same coalitions: all of them."""
    dims = tuple(range(2 - x.dim(), 0))
    mask = band_mask(x.shape[2:], num_bands)
    values = []
    for each in models:
        found = SpectralShapley(each).attribute(
            x,
            classes,
            num_bands=num_bands,
            spectral_dims=dims,
            return_input_shape=False,
            show_progress=show_progress,
        )
        values.append(found.detach().cpu().double())
    model, other, change = (
        [mean_of(column) for column in part.T] for part in (*values, values[1] - values[0])
    )
    return PairedBands(band_frequencies(mask, dims), model, other, change)


def mean_of(values: Tensor) -> Mean:
    """Return the mean of ``(N,)`` values over pictures."""
    return Mean(float(values.mean()), standard_error(values))
