"""Low-rank pairs of layers that give back the most important part of what rounding took."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_spectral._arguments import check_count
from captum_spectral.weights._components import Components, check_budget, decomposed, fill
from captum_spectral.weights._layers import check_unshared, matching, matrix_layers
from captum_spectral.weights._pairs import check_linear, restored
from captum_spectral.weights.calibration import Calibration, second_moments
from captum_spectral.weights.changes import weights_of
from captum_spectral.weights.rank_search import RankSearch, Task, search_ranks
from captum_spectral.weights.rounding import RoundedWeights, min_max_grid, round_to

__all__ = ["ResidualAdapters"]

_FULL_BITS = 32  # of an adapter's number that is not rounded


class ResidualAdapters:
    r"""Pairs of small layers that give back the most important part of what rounding took.

    With the residual :math:`D = W - W_q` of a layer as a matrix ``(out, in / groups * taps)`` and
    its singular value decomposition :math:`U S V^T`, rank :math:`r` gives back

    .. math::
        y = \mathrm{conv}(x, W_q) + b + \mathrm{up}(\mathrm{down}(x))
          = \mathrm{conv}(x,\ W_q + U_r S_r V_r^T) + b

    where ``down`` is the layer itself with the :math:`r` filters :math:`\sqrt{S_r} V_r^T`, which
    all groups share, and ``up`` mixes channels by :math:`U_r \sqrt{S_r}`. It costs
    ``in / groups * taps + out`` numbers per rank, of depthwise layers, too. A transposed
    convolution mixes first. All ranks are 0 until :meth:`allocate`, :meth:`search` or an
    assignment to :attr:`ranks`.

    Args:
        model: The model before it was rounded; never changed.
        quantised: What :func:`quantize_weights` made of it, or any copy of the model with other
            weights (pruned, rounded elsewhere). What differs besides the weights of convolutions
            and linear layers stays as it is there.
        metric: ``"plain"``: components are those of :math:`D`, with the least
            :math:`|D - D_r|_F`. ``"output"``: with the least :math:`E |(D - D_r) x|^2` over
            patches :math:`x` of calibration inputs, from the decomposition of :math:`D C^{1/2}`,
            :math:`C = E x x^T`. Groups, which share filters, are weighted by their own energies.
            Default: "output"
        calibration: Images ``(B, ...)``, or a loader that gives batches of them, alone or first in
            a tuple. Only for ``"output"``. Default: None
        skip: Patterns for names of layers that get no adapter, e.g. ``("layer3*", "fc")``.
            Default: ()
        adapter_bits: Round the pairs as well, each matrix to this many bits between its least and
            its largest number. None: do not. Default: None
        show_progress: Show a progress bar of the calibration, in model rows. Default: False

    Attributes:
        model (Module): The first.
        quantised (Module): The second.

    Raises:
        TypeError: Models that are no modules, quantised modules, a calibration of another kind.
        ValueError: Names or shapes that differ (they are listed), no layer that differs, lazy or
            parametrised modules, weights or images that are not finite, an unknown metric,
            ``"output"`` without calibration or with fewer patches than a layer's patch is long,
            patterns that match nothing, training mode of a model that is to be calibrated.

    Cost: for ``"output"`` a model row per image of the calibration, and the products of patches
    of each layer, about as much again as the layer and its patches; one SVD per layer, in float64,
    when it is first needed. Memory: :math:`C` and the components of each layer.

    Example::

        >>> import torch
        >>> from captum_spectral.weights import ResidualAdapters, quantize_weights
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(),
        ...                             torch.nn.Conv2d(8, 8, 3, groups=8)).eval()
        >>> adapters = ResidualAdapters(model, quantize_weights(model, bits=3), metric="plain")
        >>> list(adapters.allocate(budget=0.3))
        ['0', '2']
        >>> adapters.size <= 0.3
        True
        >>> x = torch.rand(2, 3, 16, 16)
        >>> torch.allclose(adapters.attach()(x), adapters.fold()(x), atol=1e-5)
        True

    References:
        R. Luo, A. Drimbarean, J. McDermott, C. O'Riordan, *Optimal Quantization Residual
        Convolutional Operator Low-Rank Adaptation*, BMVC 2024 (residuals as pairs of
        convolutions, ranks by search). C. Zhang et al., *LQER*, ICML 2024 (weights of the inputs'
        moments, for linear layers).
    """

    def __init__(
        self,
        model: nn.Module,
        quantised: RoundedWeights | nn.Module,
        metric: Literal["output", "plain"] = "output",
        calibration: Calibration | None = None,
        *,
        skip: Sequence[str] = (),
        adapter_bits: int | None = None,
        show_progress: bool = False,
    ) -> None:
        if metric not in ("output", "plain"):
            raise ValueError(f"metric must be 'output' or 'plain', got {metric!r}")
        if metric == "output" and calibration is None:
            raise ValueError(
                "metric='output' needs calibration images; give them, or use metric='plain'"
            )
        self.rounding = quantised if isinstance(quantised, RoundedWeights) else None
        self.model = model
        self.quantised: Any = (
            quantised.model if isinstance(quantised, RoundedWeights) else quantised
        )
        self.metric = metric
        self.adapter_bits = None
        if adapter_bits is not None:
            self.adapter_bits = check_count("adapter_bits", adapter_bits)
            if self.adapter_bits > 8:
                raise ValueError(f"adapter_bits must be 1 to 8 or None, got {adapter_bits}")
        self._layers, self._num_weights = self._compared(skip)
        self._moments: dict[str, Tensor] = {}
        if metric == "output":
            assert calibration is not None
            self._moments = second_moments(model, self._layers, calibration, show_progress)
        self._components: dict[str, Components] = {}
        self._stored: dict[str, tuple[Tensor, Tensor]] = {}  # pairs of a file, rounded already
        self._ranks = dict.fromkeys(self._layers, 0)

    def __repr__(self) -> str:
        ranks = [rank for rank in self._ranks.values() if rank]
        told = (
            f"ranks {min(ranks)} to {max(ranks)} in {len(ranks)} of" if ranks else "rank 0 in all"
        )
        return (
            f"ResidualAdapters({type(self.model).__name__}, metric={self.metric!r}, {told} "
            f"{len(self._ranks)} layers, {self.size:.4f} numbers per rounded weight)"
        )

    def _compared(self, skip: Sequence[str] = ()) -> tuple[dict[str, nn.Module], int]:
        """Compare the models; return the layers with adapters and what a budget is a share of."""
        own = matrix_layers(self.model, "model")
        matrix_layers(self.quantised, "quantised")
        # Name to (quantised, float).
        self._changed = weights_of(self.model, self.quantised, "quantised")
        # Of tied weights the first name alone is there.
        first = {id(weight): name for name, weight in self.model.named_parameters()}
        differ = [name for name, layer in own.items() if first[id(layer.weight)] in self._changed]
        rounded = differ if self.rounding is None else list(self.rounding.layers)
        if not differ:
            raise ValueError(
                "quantised must differ from the model in the weight of a convolution or a linear "
                f"layer, and differs in {', '.join(list(self._changed)[:5])}"
            )
        left = {name for names in matching(skip, own, "skip").values() for name in names}
        layers = {name: own[name] for name in differ if name not in left}
        if not layers:
            raise ValueError(f"skip={tuple(skip)} leaves no layer that differs")
        for name, layer in layers.items():
            check_linear(layer, f"the layer {name!r} of model")
        check_unshared(self.model, "model", layers)
        check_unshared(self.quantised, "quantised", layers)
        return layers, sum(_numel(own[name]) for name in rounded)

    def _restore(
        self,
        model: nn.Module,
        quantised: RoundedWeights,
        about: Mapping[str, Any],
        components: dict[str, Components],
        pairs: dict[str, tuple[Tensor, Tensor]],
    ) -> None:
        """Become what a file says, whose components end at the ranks."""
        self.model, self.rounding, self.quantised = model, quantised, quantised.model
        self.metric, self.adapter_bits = about["metric"], about["adapter_bits"]
        layers, self._num_weights = self._compared()
        self._layers = {name: layers[name] for name in about["ranks"]}
        self._moments, self._stored = {}, pairs
        self._components = {name: _no_components(layer) for name, layer in self._layers.items()}
        self._components |= components
        self._ranks = dict(about["ranks"])

    @property
    def ranks(self) -> dict[str, int]:
        """The rank of each layer's adapter; assign a dict of some or all to change them."""
        return dict(self._ranks)

    @ranks.setter
    def ranks(self, given: Mapping[str, int]) -> None:
        if not isinstance(given, Mapping):
            raise TypeError(
                f"ranks must be a dict from names of layers to ranks, got {type(given).__name__}"
            )
        unknown = [name for name in given if name not in self._ranks]
        if unknown:
            raise ValueError(
                f"ranks names {unknown[0]!r}, which has no adapter; these may: "
                + ", ".join(map(repr, list(self._ranks)[:5]))
            )
        checked = {}
        for name, rank in given.items():
            checked[name] = check_count(f"ranks[{name!r}]", rank, 0)
            most = len(self.components(name).values)
            if checked[name] > most:
                raise ValueError(f"ranks[{name!r}] must be at most {most}, got {rank}")
        self._ranks |= checked

    @property
    def size(self) -> float:
        """Numbers in all adapters over the weights of all rounded layers."""
        return self.size_of(self._ranks)

    def size_of(self, ranks: Mapping[str, int]) -> float:
        """Return the size that other ranks would have."""
        return sum(rank * self.cost(name) for name, rank in ranks.items()) / self._num_weights

    @property
    def bits_per_weight(self) -> float:
        """Bits of codes, grids and adapters over the weights of all rounded layers.

        Raises:
            ValueError: The weights were not rounded by :func:`quantize_weights`.
        """
        if self.rounding is None:
            raise ValueError(
                "bits_per_weight needs to know the bits: give ResidualAdapters what "
                "quantize_weights returned in place of a module"
            )
        return self.rounding.bits_per_weight + (self.adapter_bits or _FULL_BITS) * self.size

    def cost(self, name: str) -> int:
        """Return how many numbers one rank of a layer takes."""
        weight: Any = self._layers[name].weight
        return int(weight.shape[0] + weight[0].numel())

    def components(self, name: str) -> Components:
        """Return the singular components of a layer's residual; computed once.

        Cost: one SVD, in float64 on the CPU.
        """
        if name not in self._components:
            rounded, exact = (w.cpu().double().flatten(1) for w in self._changed[_weight(name)])
            self._components[name] = decomposed(
                exact - rounded, exact, self._layers[name], self._moments.pop(name, None)
            )
        return self._components[name]

    def allocate(
        self, budget: float = 0.05, method: Literal["greedy", "uniform"] = "greedy"
    ) -> dict[str, int]:
        r"""Set the ranks so that all adapters together stay within a budget; no model runs.

        Args:
            budget: The most numbers in adapters, as a share of the weights of all rounded layers.
                Default: 0.05
            method: ``"greedy"``: components of all layers in the order of
                :math:`s_i^2 / \mathrm{cost}`, as long as they fit; in the metric ``"output"`` over
                the energy :math:`E |W x|^2` of the layer's own outputs, whose scale is arbitrary.
                ``"uniform"``: the same fraction of its full rank for every layer, rounded down; to
                compare with.
                Default: "greedy"

        Returns:
            The ranks by layer.

        Raises:
            ValueError: A budget outside (0, 1), or below one rank of any layer; the smallest that
                works is named.

        Cost: one SVD per layer the first time.
        """
        numbers_at_most = self._numbers(budget)
        if method not in ("greedy", "uniform"):
            raise ValueError(f"method must be 'greedy' or 'uniform', got {method!r}")
        found = self._greedy(numbers_at_most) if method == "greedy" else self._uniform(budget)
        self._ranks.update(found)
        return dict(found)

    def search(
        self,
        loader: Calibration,
        budget: float = 0.05,
        steps: int = 100,
        *,
        loss: Literal["kl", "cross_entropy"] = "kl",
        order: int = 4,
        penalty: Literal["hold", "soft"] = "hold",
        generator: torch.Generator | None = None,
        show_progress: bool = False,
    ) -> RankSearch:
        r"""Set the ranks by gradient descent on the outputs of the model.

        Component :math:`i` of a layer of full rank :math:`R` carries the Butterworth gate
        :math:`t_i = 1 / (1 + (i / R\rho)^{2n})`, and the cut-offs :math:`\rho` of all layers are
        all that is trained (Adam, rate .01, gradients clipped at .2). It starts from the greedy
        ranks and keeps these where they have the lower loss on the first eight batches.

        Args:
            loader: Batches of images, or of ``(images, labels)``; a tensor is split into batches
                of 32. It is gone through again when it ends.
            budget: As in :meth:`allocate`. Default: 0.05
            steps: Batches that are learnt from. Default: 100
            loss: ``"kl"``: the Kullback-Leibler divergence of the outputs, as logits, from the
                model's own, which needs no labels. ``"cross_entropy"``: of the labels.
                Default: "kl"
            order: :math:`n`. Default: 4
            penalty: ``"hold"``: all cut-offs are rescaled to the budget inside every step.
                ``"soft"``: as published, :math:`e^{\max(0, \mathrm{size} - \mathrm{budget})}` is
                added to the loss, which does not keep the budget, and components are cut off
                after that. Starts from half of every rank. Default: "hold"
            generator: Source of the order of images, if ``loader`` is a tensor. None: as they are.
                Default: None
            show_progress: Show a progress bar, in model rows. Default: False

        Returns:
            :class:`RankSearch`. The budget is never exceeded.

        Raises:
            TypeError: Batches of another kind.
            ValueError: As :meth:`allocate`; unknown options, no labels for ``"cross_entropy"``,
                outputs that are not logits ``(B, classes)``.

        An exception, or Ctrl-C, leaves the best ranks of those that were tried.

        Cost in model rows: per step one batch forward and backward and once forward; 12 times the
        first eight batches, forward. Memory of a training step, and all components.
        """
        numbers_at_most = self._numbers(budget)
        task = Task(
            model=self.model,
            quantised=self.quantised,
            components=self._all_components(),
            greedy=self._greedy(numbers_at_most),
            most=numbers_at_most,
            num_weights=self._num_weights,
        )
        return search_ranks(
            task,
            loader,
            self._ranks,
            steps=check_count("steps", steps),
            loss=loss,
            order=check_count("order", order),
            penalty=penalty,
            generator=generator,
            show_progress=show_progress,
        )

    def attach(self) -> nn.Module:
        """Return a copy of the rounded model with the pairs beside its layers."""
        copied: nn.Module = copy.deepcopy(self.quantised)
        parents, pairs = list(copied.modules()), dict[nn.Module, nn.Module]()
        for name in self._ranks:
            if self._ranks[name]:
                layer = copied.get_submodule(name)
                pairs[layer] = restored(layer, *self.pair(name))
        for parent in parents:  # a layer may stand in more than one place
            for own, child in list(parent._modules.items()):
                if child in pairs:
                    setattr(parent, own, pairs[child])
        return pairs.get(copied, copied)

    @torch.no_grad()
    def fold(self) -> nn.Module:
        """Return a copy of the rounded model with what the pairs do added to its weights.

        Its outputs are those of :meth:`attach`, at no extra cost per row; its weights are on no
        grid any more.
        """
        copied: nn.Module = copy.deepcopy(self.quantised)
        for name, weight in self.folded_weights().items():
            rounded: Any = copied.get_submodule(name).weight
            rounded.copy_(weight)
        return copied

    def folded_weights(self) -> dict[str, Tensor]:
        """Return the weight of each layer with an adapter, and what the adapter adds."""
        found = {}
        for name, rank in self._ranks.items():
            if rank:
                weight: Any = self.quantised.get_submodule(name).weight
                up, down = (x.to(weight) for x in self.pair(name))
                found[name] = weight.detach() + (up @ down).reshape(weight.shape)
        return found

    def pair(self, name: str) -> tuple[Tensor, Tensor]:
        """Return ``(rows, r)`` and ``(r, columns)`` of a layer, rounded if they are to be."""
        rank = self._ranks[name]
        if name in self._stored and len(self._stored[name][1]) == rank:
            return self._stored[name]
        components = self.components(name)
        kind = self._changed[_weight(name)][0].dtype
        return tuple(  # type: ignore[return-value]
            self._rounded(x.to(kind)) for x in (components.up[:, :rank], components.down[:rank])
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the rounded weights and the adapters to a ``.safetensors`` file.

        See :func:`captum_spectral.weights.adapter_files.save_adapters`.
        """
        from captum_spectral.weights.adapter_files import save_adapters

        save_adapters(self, path)

    @staticmethod
    def load(
        path: str | os.PathLike[str],
        model: nn.Module,
        quantised: RoundedWeights | None = None,
    ) -> ResidualAdapters:
        """Read what :meth:`save` wrote.

        See :func:`captum_spectral.weights.adapter_files.load_adapters`.
        """
        from captum_spectral.weights.adapter_files import load_adapters

        return load_adapters(path, model, quantised)

    def _rounded(self, x: Tensor) -> Tensor:
        if self.adapter_bits is None:
            return x.contiguous()
        row = x.reshape(1, -1)
        return round_to(row, *min_max_grid(row, self.adapter_bits), self.adapter_bits).reshape(
            x.shape
        )

    def _numbers(self, budget: object) -> int:
        """Return how many numbers a budget allows."""
        share = check_budget(budget)
        at_most = math.floor(share * self._num_weights + 1e-9)
        least = min(self.cost(name) for name in self._ranks)
        if at_most < least:
            raise ValueError(
                f"budget={budget} is below one rank of any layer: it allows {at_most} numbers, and "
                f"the smallest adapter has {least}; the smallest budget that works is "
                f"{math.ceil(1e6 * least / self._num_weights) / 1e6:.6f}"
            )
        return at_most

    def _greedy(self, at_most: int) -> dict[str, int]:
        return fill(dict.fromkeys(self._ranks, 0), self._all_components(), at_most)

    def _uniform(self, budget: float) -> dict[str, int]:
        """Return the same fraction of all ranks, the largest that fits, by bisection."""
        full = {name: len(c.values) for name, c in self._all_components().items()}
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            fits = self.size_of({n: int(middle * r) for n, r in full.items()}) <= budget
            low, high = (middle, high) if fits else (low, middle)
        return {name: int(low * rank) for name, rank in full.items()}

    def _all_components(self) -> dict[str, Components]:
        return {name: self.components(name) for name in self._ranks}


def _weight(name: str) -> str:
    return f"{name}.weight" if name else "weight"


def _numel(layer: nn.Module) -> int:
    weight: Any = layer.weight
    return int(weight.numel())


def _no_components(layer: nn.Module) -> Components:
    weight: Any = layer.weight
    up, values, down = (
        torch.zeros(shape, dtype=torch.float64)
        for shape in ((len(weight), 0), (0,), (0, weight[0].numel()))
    )
    return Components(up, values, down)
