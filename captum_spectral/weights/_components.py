"""Singular components of residuals: what each is worth, and which fit in a budget."""

from __future__ import annotations

import heapq
import numbers
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

__all__ = ["Components", "check_budget", "decomposed", "fill", "trim"]

_LEAST_EIGENVALUE = 1e-4  # of their mean: the root of less is noise


class Components(NamedTuple):
    """The singular components of the residual of one layer, the largest first.

    Attributes:
        up: ``(rows, R)``, left vectors times roots of the values.
        values: ``(R,)`` singular values in the metric.
        down: ``(R, columns)``, roots of the values times right vectors.
        energy: Of the layer's own weight in the metric, that is of its outputs; 1 without one.
    """

    up: Tensor
    values: Tensor
    down: Tensor
    energy: float = 1.0

    @property
    def cost(self) -> int:
        """Numbers that one rank takes."""
        return self.up.shape[0] + self.down.shape[1]

    def worth(self, i: int) -> float:
        """Return the part of the layer's energy in component ``i``, per number that it takes."""
        return float(self.values[i]) ** 2 / self.energy / self.cost


def decomposed(
    residual: Tensor, weight: Tensor, layer: nn.Module, moments: Tensor | None
) -> Components:
    r"""Decompose a residual ``(rows, columns)``, float64, in the metric of second moments.

    Without moments: :math:`D = U S V^T`. With those of a convolution's patches, pooled over
    groups, and of the energies :math:`w_g^2` of groups: :math:`w D C^{1/2} = U S V^T`, so that
    :math:`D = (w^{-1} U) S (V^T C^{-1/2})`. With those of a transposed convolution's input, from
    the left. Values that rounding could have made are left out.
    """
    left, right, undo = torch.stack([residual, weight]), None, None
    if moments is not None and isinstance(layer, _ConvNd) and layer.transposed:
        root, undo = _roots(moments)  # (G, in/G, in/G)
        left = (root @ left.reshape(2, len(root), root.shape[1], -1)).reshape(left.shape)
    elif moments is not None:
        energies = moments.diagonal(dim1=1, dim2=2).sum(1)
        energies = (energies / energies.mean().clamp(min=torch.finfo(torch.float64).tiny)).clamp(
            min=_LEAST_EIGENVALUE
        )
        weights = energies.sqrt().repeat_interleave(len(residual) // len(moments))[:, None]
        root, right = (x[0] for x in _roots(moments.mean(0, keepdim=True)))
        left, undo = weights * left @ root, 1 / weights
    # Layers are compared by what is lost of their outputs: the scale of these is arbitrary before
    # a batch norm.
    energy = 1.0 if moments is None else float(left[1].square().sum()) or 1.0
    u, s, vh = torch.linalg.svd(left[0], full_matrices=False)
    rank = int((s > max(residual.shape) * torch.finfo(s.dtype).eps * s[0]).sum())
    u, s, vh = u[:, :rank], s[:rank], vh[:rank]
    if undo is not None and undo.dim() == 3:
        u = (undo @ u.reshape(len(undo), undo.shape[1], -1)).reshape(u.shape)
    elif undo is not None:
        u = undo * u
    if right is not None:
        vh = vh @ right
    return Components(u * s.sqrt(), s, s.sqrt()[:, None] * vh, energy)


def fill(
    ranks: Mapping[str, int], components: Mapping[str, Components], most: int
) -> dict[str, int]:
    """Add components in the order of their worth, as long as they fit in so many numbers."""
    found = dict(ranks)
    left = most - _numbers(found, components)
    order = {name: place for place, name in enumerate(components)}

    def entry(name: str) -> tuple[float, int, str]:
        return -components[name].worth(found[name]), order[name], name

    heap = [entry(name) for name in components if found[name] < len(components[name].values)]
    heapq.heapify(heap)
    while heap:
        _, _, name = heapq.heappop(heap)
        if components[name].cost > left:
            continue
        left -= components[name].cost
        found[name] += 1
        if found[name] < len(components[name].values):
            heapq.heappush(heap, entry(name))
    return found


def trim(
    ranks: Mapping[str, int], components: Mapping[str, Components], most: int
) -> dict[str, int]:
    """Take away the last components of layers, the least worth first, until the rest fits."""
    found = dict(ranks)
    excess = _numbers(found, components) - most
    while excess > 0:
        name = min(
            (name for name in found if found[name]),
            key=lambda name: components[name].worth(found[name] - 1),
        )
        found[name] -= 1
        excess -= components[name].cost
    return found


def check_budget(budget: object) -> float:
    """Return a budget as a float between 0 and 1."""
    if isinstance(budget, bool) or not isinstance(budget, numbers.Real):
        raise TypeError(f"budget must be a number between 0 and 1, got {budget!r}")
    if not 0 < float(budget) < 1:
        raise ValueError(
            f"budget must lie between 0 and 1, a share of the rounded weights, got {budget!r}"
        )
    return float(budget)


def _numbers(ranks: Mapping[str, int], components: Mapping[str, Components]) -> int:
    return sum(rank * components[name].cost for name, rank in ranks.items())


def _roots(moments: Tensor) -> tuple[Tensor, Tensor]:
    """Return the roots of symmetric matrices ``(G, q, q)`` and their inverses."""
    values, vectors = torch.linalg.eigh(moments)
    mean = values.mean(-1, keepdim=True)
    # A layer, or a group, that is given nothing but zeros tells nothing: all directions alike.
    mean = torch.where(mean > 0, mean, torch.ones_like(mean))
    roots = torch.maximum(values, _LEAST_EIGENVALUE * mean).sqrt()[..., None, :]
    return (vectors * roots) @ vectors.mT, (vectors / roots) @ vectors.mT
