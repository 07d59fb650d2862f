"""Boundary: the points that were found, and the error where there is none."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from torch import Tensor

from captum_spectral._captum import format_output
from captum_spectral.boundary.crossing import Crossing

__all__ = ["Boundary", "BoundaryNotFoundError", "OnMissing", "as_boundary"]

OnMissing = Literal["raise", "nan"]


class Boundary(NamedTuple):
    """Nearest points of another class, as :func:`find_boundary` found them.

    Args:
        points: ``(B, ...)`` :math:`x'`, of the shape and dtype of the inputs (a tuple for a tuple),
            on the far side of the boundary. NaN where none was found.
        distances: ``(B,)`` :math:`|x' - x|_2`, in float32 or float64. Infinite where none was
            found.
        found: ``(B,)`` boolean.
        classes: ``(B,)`` integers, the class predicted at the points. -1 where none was found.

    Raises:
        AttributeError: On an attempt to change it.

    Example::

        >>> import torch
        >>> from captum_spectral import find_boundary
        >>> model = torch.nn.Linear(2, 2).requires_grad_(False)
        >>> model.weight[:], model.bias[:] = torch.eye(2), 0
        >>> boundary = find_boundary(model.eval(), torch.tensor([[3.0, 1.0]]), target=0)
        >>> boundary.found, boundary.classes
        (tensor([True]), tensor([1]))
        >>> print(f"{float(boundary.distances):.2f}")        # |f_0 - f_1| / |w_0 - w_1|
        1.41
    """

    points: Tensor | tuple[Tensor, ...]
    distances: Tensor
    found: Tensor
    classes: Tensor


class BoundaryNotFoundError(RuntimeError):
    """Say that for some examples the search met no other class.

    Args:
        examples: Their indices.
        boundary: What was found for the others, as with ``on_missing="nan"``; None where points
            were given and not searched. Default: None

    Example::

        >>> from captum_spectral import BoundaryNotFoundError
        >>> BoundaryNotFoundError([2]).examples
        [2]
    """

    def __init__(self, examples: list[int], boundary: Boundary | None = None) -> None:
        self.examples, self.boundary = examples, boundary
        super().__init__(
            f"no decision boundary was found for the examples {examples}: no step led to another "
            'class. on_missing="nan" leaves them out; more num_restarts or max_steps, larger radii '
            "(pgd) or another method may find one: options of find_boundary and BoundarySearch"
        )


def as_boundary(crossing: Crossing, on_missing: OnMissing, in_tuple: bool) -> Boundary:
    """Give crossings the form for the user.

    Raises:
        BoundaryNotFoundError: One is missing, with ``on_missing="raise"``.
    """
    found = crossing.distances.isfinite()
    points: Any = format_output(in_tuple, (crossing.points,))
    boundary = Boundary(points, crossing.distances, found, crossing.classes)
    if on_missing == "raise" and not found.all():
        raise BoundaryNotFoundError((~found).nonzero().flatten().tolist(), boundary)
    return boundary
