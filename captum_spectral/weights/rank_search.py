"""Ranks of adapters by gradient descent on the outputs of a model."""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, kl_div

from captum_spectral._arguments import format_labels
from captum_spectral._captum import progress_bar
from captum_spectral.weights._components import Components, fill, trim
from captum_spectral.weights.calibration import Calibration, Runner, batches_of

__all__ = ["RankSearch", "Task", "butterworth", "search_ranks"]

_RATE, _LARGEST_GRADIENT = 0.01, 0.2
_GAMMA = 1.0  # weight of the soft penalty
_START = 0.5  # cut-offs under the soft penalty
_NONE = 0.25  # of a rank: the cut-off of a layer that has none
_CHECKED, _CHECKS = 8, 10  # batches whose loss decides; how often it is looked at
_HALVINGS = 32
_ASKS = "a search needs"  # in errors


class RankSearch(NamedTuple):
    """A search for ranks, and what came of it.

    Attributes:
        ranks: The ranks that were set, by layer.
        kept: ``"search"``, or ``"greedy"`` where none that were tried had a lower loss.
        loss: Of those ranks, on the first eight batches.
        greedy_loss: Of the greedy ranks, on the same.
        curve: Loss of each step, on its batch, ``(steps,)``.
        size_before: Size of the ranks that the cut-offs of the end stood for, before components
            were taken away or added to meet the budget.
        size: Of the ranks that were set.
        seconds: How long it took.
    """

    ranks: dict[str, int]
    kept: str
    loss: float
    greedy_loss: float
    curve: Tensor
    size_before: float
    size: float
    seconds: float


def butterworth(cutoffs: Tensor, ranks: Tensor, order: int) -> Tensor:
    r"""Return the gate :math:`1 / (1 + (i / R\rho)^{2n})` of each component.

    Computed as a sigmoid of logarithms: the powers of the formula overflow.

    Args:
        cutoffs: :math:`\rho`, any shape that goes with ``ranks``.
        ranks: :math:`i / R`.
        order: :math:`n`.
    """
    return torch.sigmoid(2 * order * (cutoffs.log() - ranks.log()))


@dataclass(frozen=True)
class Task:
    """All that a search is about.

    Attributes:
        model: The float model.
        quantised: The one whose layers get adapters.
        components: By name of the layer.
        greedy: Ranks to start from.
        most: How many numbers adapters may hold.
        num_weights: What sizes are shares of.
    """

    model: nn.Module
    quantised: nn.Module
    components: dict[str, Components]
    greedy: dict[str, int]
    most: int
    num_weights: int

    def size(self, ranks: Mapping[str, int]) -> float:
        """Return numbers in adapters over weights."""
        cost = sum(rank * self.components[name].cost for name, rank in ranks.items())
        return cost / self.num_weights


def search_ranks(
    task: Task,
    loader: Calibration,
    ranks: dict[str, int],
    *,
    steps: int,
    loss: str,
    order: int,
    penalty: str,
    generator: torch.Generator | None,
    show_progress: bool,
) -> RankSearch:
    """Search, and keep the best ranks in ``ranks`` at any time.

    See :meth:`captum_spectral.weights.ResidualAdapters.search`.
    """
    for name, value, known in (
        ("loss", loss, ("kl", "cross_entropy")),
        ("penalty", penalty, ("hold", "soft")),
    ):
        if value not in known:
            raise ValueError(f"{name} must be {known[0]!r} or {known[1]!r}, got {value!r}")
    begin = time.perf_counter()
    losses = _Losses(task, loss)
    passes = _passes(loader, losses.device, generator)
    first = next(passes)
    checked = list(itertools.islice(first, _CHECKED))
    rows = itertools.chain(checked, first, itertools.chain.from_iterable(passes))
    cutoffs = _Cutoffs(task, order, penalty == "hold", losses.device)
    ranks.update(task.greedy)
    greedy_loss = best = losses.of_ranks(ranks, checked)
    kept, curve = "greedy", []
    optimizer = torch.optim.Adam([cutoffs.values], lr=_RATE)
    every = max(1, steps // _CHECKS)
    with progress_bar(show_progress, "Rank search", steps * len(checked[0][0])) as bar:
        for step in range(1, steps + 1):
            batch = next(rows)
            gates = cutoffs.gates()
            found = losses.of_gates(gates, batch)
            curve.append(float(found.detach()))
            if penalty == "soft":
                excess = torch.relu(cutoffs.size(gates) - task.most / task.num_weights)
                found = found + _GAMMA * excess.exp()
            optimizer.zero_grad()
            found.backward()
            torch.nn.utils.clip_grad_value_([cutoffs.values], _LARGEST_GRADIENT)
            optimizer.step()
            cutoffs.settle()
            bar.update(len(batch[0]))
            if step % every == 0 or step == steps:
                tried = cutoffs.ranks(fit=True)
                its_loss = losses.of_ranks(tried, checked)
                if its_loss < best:
                    best, kept = its_loss, "search"
                    ranks.update(tried)
    return RankSearch(
        ranks=dict(ranks),
        kept=kept,
        loss=best,
        greedy_loss=greedy_loss,
        curve=torch.tensor(curve, dtype=torch.float64),
        size_before=task.size(cutoffs.ranks(fit=False)),
        size=task.size(ranks),
        seconds=time.perf_counter() - begin,
    )


class _Cutoffs:
    r"""The cut-offs :math:`\rho` of all layers, their gates and their ranks.

    Args:
        task: What is searched for.
        order: Of the gates.
        held: Keep the size of the gates at the budget.
        device: Of the cut-offs.
    """

    def __init__(self, task: Task, order: int, held: bool, device: torch.device) -> None:
        self._task, self._order, self._held = task, order, held
        self._names = list(task.components)
        full = [len(task.components[name].values) for name in self._names]
        # One row per component of any layer.
        self._layer = torch.cat([torch.full((n,), i) for i, n in enumerate(full)]).to(device)
        self._places = torch.cat([torch.arange(1, n + 1) / n for n in full]).to(device)
        costs = [task.components[name].cost / task.num_weights for name in self._names]
        self._costs = torch.tensor(costs, dtype=torch.float32, device=device)
        self._full = torch.tensor(full, dtype=torch.float32, device=device)
        self._least = (_NONE if held else 1.0) / self._full
        start = torch.full_like(self._full, _START)
        if held:
            greedy = [float(task.greedy[name]) for name in self._names]
            start = torch.tensor(greedy, device=device) / self._full
        self.values = torch.maximum(start, self._least).requires_grad_()
        self.settle()

    def gates(self) -> dict[str, Tensor]:
        """Return the gates ``(R,)`` of each layer, differentiable in the cut-offs."""
        cutoffs = self.values
        if self._held:
            # The size stays at the budget: a move of one layer is a move back of all. The value of
            # the factor is 1 after settle; this is its derivative.
            factor = torch.ones((), device=cutoffs.device, requires_grad=True)
            size = self._size_at(cutoffs.detach() * factor)
            (slope,) = torch.autograd.grad(size, factor)
            if slope > 0:
                size = self._size_at(cutoffs)
                cutoffs = cutoffs * (1 - (size - size.detach()) / slope)
        gates = self._gates_at(cutoffs)
        return {name: gates[self._layer == i] for i, name in enumerate(self._names)}

    def size(self, gates: Mapping[str, Tensor]) -> Tensor:
        """Return the numbers behind gates over the weights, a component counting as its gate."""
        sums = torch.stack([gates[name].sum() for name in self._names])
        return (self._costs * sums).sum()

    @torch.no_grad()
    def settle(self) -> None:
        """Bring the cut-offs back to where they may be; held ones by one factor for all."""
        factor = 1.0
        if self._held:
            low, high = -10.0, 10.0  # logarithms: from a quarter of a rank in thousands to all
            budget = self._task.most / self._task.num_weights
            for _ in range(_HALVINGS):
                middle = (low + high) / 2
                fits = float(self._size_at(self.values * math.exp(middle))) <= budget
                low, high = (middle, high) if fits else (low, middle)
            factor = math.exp(low)
        self.values.copy_(self._allowed(factor * self.values))

    @torch.no_grad()
    def ranks(self, fit: bool) -> dict[str, int]:
        """Return the ranks that the cut-offs stand for, made to fit the budget or as they are."""
        exact = self._full * self.values
        # As published, a rank begun is a rank. Held cut-offs start from whole ranks.
        whole = exact.round() if self._held else (exact - 1e-4).ceil()
        found = {
            name: max(0, min(int(r), len(self._task.components[name].values)))
            for name, r in zip(self._names, whole.tolist(), strict=True)
        }
        if not fit:
            return found
        components, most = self._task.components, self._task.most
        return fill(trim(found, components, most), components, most)

    def _allowed(self, cutoffs: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(cutoffs, self._least), torch.ones_like(cutoffs))

    def _gates_at(self, cutoffs: Tensor) -> Tensor:
        return butterworth(self._allowed(cutoffs)[self._layer], self._places, self._order)

    def _size_at(self, cutoffs: Tensor) -> Tensor:
        return (self._costs[self._layer] * self._gates_at(cutoffs)).sum()


class _Losses:
    """Compares outputs of the quantised model with adapters to those of the float model, or labels.

    The models are not touched: a copy of the quantised one runs, without gradients of its own.
    """

    def __init__(self, task: Task, loss: str) -> None:
        self._task, self._loss = task, loss
        self._float = Runner(task.model, "model")
        self._copy = copy.deepcopy(task.quantised).requires_grad_(False)
        self._run = Runner(self._copy, "quantised")
        self.device = self._run.device
        self._weights: dict[str, Tensor] = {}
        self._pairs: dict[str, tuple[Tensor, Tensor]] = {}
        for name, (up, _, down, _) in task.components.items():
            weight: Any = self._copy.get_submodule(name).weight
            self._weights[name] = weight
            self._pairs[name] = up.to(weight), down.to(weight)

    def of_gates(self, gates: Mapping[str, Tensor], batch: tuple[Tensor, Any]) -> Tensor:
        """Return the mean loss of a batch with components weighted by gates."""
        x, labels = batch
        weights = {}
        for name, gate in gates.items():
            weight, (up, down) = self._weights[name], self._pairs[name]
            gate = gate.to(weight.dtype)
            key = f"{name}.weight" if name else "weight"
            weights[key] = weight + ((up * gate) @ down).reshape(weight.shape)
        outputs = self._run.logits(
            x, _ASKS, lambda *given: functional_call(self._copy, weights, given)
        )
        if self._loss == "cross_entropy":
            if labels is None:
                raise ValueError(
                    "loss='cross_entropy' needs labels, and loader gives images alone; use 'kl'"
                )
            classes = format_labels(labels, len(x), outputs.shape[1])
            return cross_entropy(outputs.float(), classes.to(outputs.device))
        with torch.no_grad():
            reference = self._float.logits(x, _ASKS)
        return kl_div(
            outputs.float().log_softmax(1),
            reference.float().log_softmax(1),
            reduction="batchmean",
            log_target=True,
        )

    @torch.no_grad()
    def of_ranks(self, ranks: Mapping[str, int], batches: list[tuple[Tensor, Any]]) -> float:
        """Return the mean loss over the images of batches with so many components."""
        gates = {
            name: (torch.arange(len(c.values), device=self.device) < ranks[name]).float()
            for name, c in self._task.components.items()
        }
        total = sum(float(self.of_gates(gates, batch)) * len(batch[0]) for batch in batches)
        return total / sum(len(x) for x, _ in batches)


def _passes(
    loader: Calibration, device: torch.device, generator: torch.Generator | None
) -> Iterator[Iterator[tuple[Tensor, Any]]]:
    """Go through a loader again and again, through a tensor in a random order each time."""
    yield _shuffled(loader, device, generator)
    while True:
        try:
            again = _shuffled(loader, device, generator)
            one = next(again)
        except ValueError as error:
            raise ValueError(
                "loader ended before the search did, and cannot be gone through again; give a "
                "DataLoader or a list"
            ) from error
        yield itertools.chain([one], again)


def _shuffled(
    loader: Calibration, device: torch.device, generator: torch.Generator | None
) -> Iterator[tuple[Tensor, Any]]:
    if isinstance(loader, Tensor) and generator is not None:
        order = torch.randperm(len(loader), generator=generator, device=generator.device)
        loader = loader[order.to(loader.device)]
    return batches_of(loader, "loader", device)
