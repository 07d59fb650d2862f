"""BoundarySearch: the options of a search for the nearest boundary, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral.boundary.box import Clip, check_pair
from captum_spectral.boundary.result import OnMissing

__all__ = ["RADII", "BoundarySearch", "SearchMethod", "format_search"]

# A name, or a function of inputs (B, ...) and target (B,) that gives candidate points (B, ...).
SearchMethod = Literal["deepfool", "pgd"] | Callable[[Tensor, Tensor], Tensor]

# A float64 has 53 bits.
MOST_BISECTION_STEPS = 50

# Of the paper, for ImageNet in normalised units.
RADII = (36 / 255, 64 / 255, 0.3, 0.5, 0.7, 0.9, 1.1)


# Compared by identity: bounds may be tensors, which have no single truth.
@dataclass(frozen=True, eq=False)
class BoundarySearch:
    """A search for the nearest boundary: its method and its options, checked when it is made.

    :class:`~captum_spectral.BoundarySaliency` and
    :class:`~captum_spectral.BoundaryIntegratedGradients` take it as ``search``, and
    :func:`~captum_spectral.find_boundary`, where each option is described at length, as ``method``.

    Args:
        method: ``"deepfool"``, ``"pgd"``, or a function of ``inputs (B, ...)`` and ``target (B,)``
            that returns candidates ``(B, ...)`` across the boundary. Default: "deepfool"
        clip: ``(low, high)`` of valid inputs: numbers, one number per channel, or tensors that
            broadcast to the inputs. None: no limits. Default: None
        num_candidates: For ``"deepfool"``, how many other classes are considered. Default: 10
        overshoot: How much farther than the linearised boundary a step of ``"deepfool"``, or of the
            refinement, goes, as a share of its length. Default: 0.02
        radii: For ``"pgd"``, of the balls, in the units of the inputs. Default: those of the paper,
            36/255 to 1.1
        max_steps: Steps of ``"deepfool"``, or of ``"pgd"`` in each ball. None: 50 or 40.
            Default: None
        bisection_steps: The crossing is located as closely as by halving the way so many times.
            Default: 12
        refinement_steps: How often, at most, the point is moved along the boundary. Default: 1
        num_restarts: How many times the search is repeated from random points. Default: 0
        generator: Source of these; None takes PyTorch's global one. Default: None
        on_missing: What to do with examples for which no boundary was found, or whose given point
            is NaN: ``"raise"``, or ``"nan"``. Default: "raise"

    Raises:
        TypeError: A method that is neither a name nor callable, counts of a wrong kind, a ``clip``
            that is no pair.
        ValueError: Counts, ``overshoot`` or ``radii`` out of their range, an unknown
            ``on_missing``.

    Example::

        >>> import torch
        >>> from captum_spectral import BoundarySaliency, BoundarySearch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 5)).eval()
        >>> inputs = torch.rand(2, 3, 8, 8)
        >>> target = model(inputs).argmax(1)
        >>> search = BoundarySearch("deepfool", clip=(-9, 9), num_restarts=1)
        >>> BoundarySaliency(model).attribute(inputs, target, search=search).shape
        torch.Size([2, 3, 8, 8])
    """

    method: SearchMethod = "deepfool"
    _: KW_ONLY
    clip: Clip | None = None
    num_candidates: int = 10
    overshoot: float = 0.02
    radii: Sequence[float] = RADII
    max_steps: int | None = None
    bisection_steps: int = 12
    refinement_steps: int = 1
    num_restarts: int = 0
    generator: torch.Generator | None = None
    on_missing: OnMissing = "raise"

    def __post_init__(self) -> None:
        if not _is_method(self.method):
            raise TypeError(
                'method must be "deepfool", "pgd" or a function of (inputs, target) that returns '
                f"candidate points, got {self.method!r}"
            )
        if self.clip is not None:
            check_pair(self.clip)
        check_count("num_candidates", self.num_candidates)
        check_count("bisection_steps", self.bisection_steps, at_least=0)
        if self.bisection_steps > MOST_BISECTION_STEPS:
            raise ValueError(
                f"bisection_steps must be at most {MOST_BISECTION_STEPS}, as no dtype tells closer "
                f"points apart, got {self.bisection_steps}"
            )
        check_count("refinement_steps", self.refinement_steps, at_least=0)
        check_count("num_restarts", self.num_restarts, at_least=0)
        if self.max_steps is not None:
            check_count("max_steps", self.max_steps)
        if not self.overshoot > 0:
            raise ValueError(f"overshoot must be positive, got {self.overshoot}")
        if len(self.radii) == 0 or not all(0 < r < float("inf") for r in self.radii):
            raise ValueError(f"radii must be one or more positive numbers, got {self.radii!r}")
        if self.on_missing not in ("raise", "nan"):
            raise ValueError(f'on_missing must be "raise" or "nan", got {self.on_missing!r}')


def format_search(
    search: BoundarySearch | SearchMethod, name: str, **options: Any
) -> BoundarySearch:
    """Return a search, made of a method and options where it is not one already.

    Args:
        search: As of the user.
        name: The name of that argument.
        options: Those of :class:`BoundarySearch`, which a finished search must not have beside it.
    """
    if not isinstance(search, BoundarySearch):
        if not _is_method(search):
            raise TypeError(
                f'{name} must be "deepfool", "pgd" or a function of (inputs, target) that returns '
                f"candidate points, or a BoundarySearch, got {search!r}"
            )
        return BoundarySearch(search, **options)
    beside = [
        option
        for option, value in options.items()
        if not _is_default(value, getattr(BoundarySearch, option))
    ]
    if beside:
        raise ValueError(
            f"{name} is a BoundarySearch, which has its own {', '.join(beside)}: give "
            f"{'them' if len(beside) > 1 else 'it'} to the BoundarySearch"
        )
    return search


def _is_method(value: object) -> bool:
    return value in ("deepfool", "pgd") if isinstance(value, str) else callable(value)


def _is_default(value: object, default: object) -> bool:
    # Types first: the truth of value == default is undefined where a value is a tensor.
    return value is default or (type(value) is type(default) and value == default)
