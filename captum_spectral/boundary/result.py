"""Define the result of a search for the boundary, and the error if there is none."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from torch import Tensor

from captum_spectral._captum import format_output
from captum_spectral.boundary.bisection import Crossing

__all__ = ["Boundary", "BoundaryNotFoundError", "OnMissing", "as_boundary", "check_on_missing"]

OnMissing = Literal["raise", "nan"]


class Boundary(NamedTuple):
    """Hold the nearest points of another class that :func:`find_boundary` found.

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
    """Report that the search met no other class for some examples.

    Args:
        examples: The indices of these examples.
        boundary: The result for the others, as with ``on_missing="nan"``; None if points were
            given and not searched. Default: None

    Example::

        >>> from captum_spectral import BoundaryNotFoundError
        >>> BoundaryNotFoundError([2]).examples
        [2]
    """

    def __init__(self, examples: list[int], boundary: Boundary | None = None) -> None:
        self.examples, self.boundary = examples, boundary
        super().__init__(
            f"no decision boundary was found for the examples {examples}: no step led to another "
            'class. on_missing="nan" leaves them out; more num_restarts or another method may find '
            "one, or find_boundary with more max_steps or larger radii (pgd), whose points can be "
            "given as baselines"
        )


def check_on_missing(on_missing: object) -> None:
    """Raise unless ``on_missing`` is ``"raise"`` or ``"nan"``."""
    if on_missing not in ("raise", "nan"):
        raise ValueError(f'on_missing must be "raise" or "nan", got {on_missing!r}')


def as_boundary(crossing: Crossing, on_missing: OnMissing, in_tuple: bool) -> Boundary:
    """Return the result for the user; raise if a boundary is missing and none may be."""
    found = crossing.distances.isfinite()
    points: Any = format_output(in_tuple, (crossing.points,))
    boundary = Boundary(points, crossing.distances, found, crossing.classes)
    if on_missing == "raise" and not found.all():
        raise BoundaryNotFoundError((~found).nonzero().flatten().tolist(), boundary)
    return boundary
