"""Interactions of players: what they are, where they came from, and how to hand them on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from captum_spectral.coalitions.indices import subsets_of

__all__ = ["InteractionResult"]

_TENSORS = ("values", "standard_error", "empty_value", "full_value")
_EMPTY = "Empty"


@dataclass(frozen=True, eq=False)
class InteractionResult:
    r"""Interactions of up to ``order`` players, for every example and output.

    :class:`~captum_spectral.attr.SpectralInteractions` makes it; :meth:`from_json` reads one back.

    Args:
        values: ``(B, *outputs, S)``, float64 on the CPU, in the unit of the model's output.
        standard_error: Of the same shape; 0 where the values are exact.
        empty_value: ``(B, *outputs)``, the value of the empty coalition.
        full_value: ``(B, *outputs)``, the value of the grand coalition.
        index: ``"k-SII"``, ``"SII"``, ``"STII"``, ``"BII"`` or ``"Moebius"``.
        order: The most players of an interaction.
        num_players: ``M``.
        num_rows: Model rows per example that the values came from.
        estimated: False if these were all coalitions.
        num_examples: How many examples the values are means of, over which the standard errors are
            then. Default: 1

    Attributes:
        subsets (list[tuple[int, ...]]): The players of the S interactions, by size, then in
            lexicographic order.

    Example::

        >>> import torch
        >>> from captum_spectral.attr import SpectralInteractions
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 5)).eval()
        >>> result = SpectralInteractions(model).attribute(torch.rand(2, 1, 16, 16), 1, num_bands=3)
        >>> result.subsets
        [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]
        >>> result.values.shape
        torch.Size([2, 6])
        >>> InteractionResult.from_json(result.to_json()) == result
        True
    """

    values: Tensor
    standard_error: Tensor
    empty_value: Tensor
    full_value: Tensor
    index: str
    order: int
    num_players: int
    num_rows: int
    estimated: bool
    num_examples: int = 1

    def __post_init__(self) -> None:
        outputs = self.empty_value.shape
        sets = len(self.subsets)
        for name in _TENSORS:
            expected = (*outputs, sets) if name in _TENSORS[:2] else outputs
            found = getattr(self, name).shape
            if found != expected:
                raise ValueError(
                    f"{name} must be {tuple(expected)} for {sets} interactions, got {tuple(found)}"
                )

    @property
    def subsets(self) -> list[tuple[int, ...]]:
        """The players of each interaction, by size, then in lexicographic order."""
        return subsets_of(self.num_players, self.order)

    def matrix(self, example: int = 0, output: int | tuple[int, ...] = ()) -> Tensor:
        r"""Return single players on the diagonal, and half of each interaction of two beside it.

        With ``"k-SII"`` of order 2 row i sums to the Shapley value of player i, and the whole to
        v(full) - v(empty).

        Args:
            example: Which example. Default: 0
            output: Which output, where all were explained. Default: (), the only one

        Returns:
            ``(M, M)``, symmetric, float64.

        Raises:
            IndexError, ValueError: No such example or output; interactions of order 1.
        """
        return self._as_matrix(self._select(self.values, example, output))

    def error_matrix(self, example: int = 0, output: int | tuple[int, ...] = ()) -> Tensor:
        """Return the standard errors of :meth:`matrix`, ``(M, M)``.

        Args:
            example: Which example. Default: 0
            output: Which output, where all were explained. Default: (), the only one
        """
        return self._as_matrix(self._select(self.standard_error, example, output))

    def top(
        self, k: int = 10, example: int = 0, output: int | tuple[int, ...] = ()
    ) -> list[tuple[tuple[int, ...], float, float]]:
        """Return the strongest interactions of two or more players, the strongest first.

        Args:
            k: At most so many. Default: 10
            example: Which example. Default: 0
            output: Which output, where all were explained. Default: (), the only one

        Returns:
            Players, value and standard error of each.
        """
        values = self._select(self.values, example, output)
        errors = self._select(self.standard_error, example, output)
        sets = self.subsets
        together = range(self.num_players, len(sets))
        strongest = sorted(together, key=lambda i: -abs(float(values[i])))[:k]
        return [(sets[i], float(values[i]), float(errors[i])) for i in strongest]

    def to_frame(self, example: int = 0, output: int | tuple[int, ...] = ()) -> Any:
        """Return a ``pandas.DataFrame`` with a row for every set of players.

        Args:
            example: Which example. Default: 0
            output: Which output, where all were explained. Default: (), the only one

        Returns:
            Columns ``players`` (a tuple), ``size``, ``value`` and ``standard_error``; ``attrs`` has
            ``index``, ``empty_value`` and ``full_value``.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_frame needs pandas: pip install pandas", name="pandas") from error

        frame = pandas.DataFrame(
            {
                "players": self.subsets,
                "size": [len(players) for players in self.subsets],
                "value": self._select(self.values, example, output).tolist(),
                "standard_error": self._select(self.standard_error, example, output).tolist(),
            }
        )
        ends = {"empty_value": self.empty_value, "full_value": self.full_value}
        frame.attrs = {"index": self.index} | {
            name: float(self._select(value[..., None], example, output)[0])
            for name, value in ends.items()
        }
        return frame

    def to_shapiq(self, example: int = 0, output: int | tuple[int, ...] = ()) -> Any:
        """Return a ``shapiq.InteractionValues``, for shapiq's plots and methods.

        The empty set comes first, with the value of the empty coalition as in shapiq's Shapley
        values and k-SII (in plain SII and BII of shapiq it is something else). Interactions of
        order 1 are called ``"SV"``, or ``"BV"``.

        Args:
            example: Which example. Default: 0
            output: Which output, where all were explained. Default: (), the only one

        Raises:
            ImportError: shapiq is not installed.
        """
        import shapiq

        values = self._select(self.values, example, output)
        empty = self._select(self.empty_value[..., None], example, output)
        index = self.index
        if self.order == 1 and index != "Moebius":
            index = "BV" if index == "BII" else "SV"
        keys = [(), *self.subsets]
        return shapiq.InteractionValues(
            torch.cat([empty, values]).numpy(),
            index=index,
            max_order=self.order,
            min_order=0,
            n_players=self.num_players,
            interaction_lookup={key: i for i, key in enumerate(keys)},
            estimated=self.estimated,
            estimation_budget=self.num_rows,
            baseline_value=float(empty),
        )

    def to_json(self) -> str:
        """Write everything as a JSON object; numbers keep all their digits, NaN becomes null.

        Interactions are named by their players, ``"0,3"``, and the value of the empty coalition
        is ``"Empty"``, as in shapiq.
        """
        names = [_EMPTY, *(",".join(map(str, s)) for s in self.subsets)]
        whole = torch.cat([self.empty_value[..., None], self.values], -1).reshape(-1, len(names))
        errors = self.standard_error.reshape(-1, len(names) - 1)
        full = self.full_value.reshape(-1)
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _TENSORS}
        content["shape"] = list(self.empty_value.shape)
        content["interactions"] = [
            {
                "values": _named(names, values),
                "standard_errors": _named(names[1:], own),
                "full_value": _named(["full"], end[None])["full"],
            }
            for values, own, end in zip(whole, errors, full, strict=True)
        ]
        return json.dumps(content, indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> InteractionResult:
        """Read back what :meth:`to_json` wrote.

        Args:
            text: The document.

        Returns:
            An equal result.

        Raises:
            ValueError: It is no such document; the message says what is missing.
        """
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"this is not the JSON of an InteractionResult: {error}") from error
        scalars = [f.name for f in fields(cls) if f.name not in _TENSORS]
        needed = [*scalars, "shape", "interactions"]
        missing = [n for n in needed if not isinstance(content, dict) or n not in content]
        if missing:
            raise ValueError(f"an InteractionResult needs {', '.join(missing)}")
        sets = subsets_of(content["num_players"], content["order"])
        names = [",".join(map(str, s)) for s in sets]
        shape = content["shape"]
        try:
            each = [
                (
                    [part["values"][n] for n in [_EMPTY, *names]],
                    [part["standard_errors"][n] for n in names],
                    [part["full_value"]],
                )
                for part in content["interactions"]
            ]
        except KeyError as error:
            raise ValueError(f"interactions must hold {error}") from error
        values, errors, full = (_tensor(rows) for rows in zip(*each, strict=True))
        return cls(
            values[:, 1:].reshape(*shape, len(sets)),
            errors.reshape(*shape, len(sets)),
            values[:, 0].reshape(shape),
            full.reshape(shape),
            **{name: content[name] for name in scalars},
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InteractionResult):
            return NotImplemented
        for f in fields(self):
            a, b = getattr(self, f.name), getattr(other, f.name)
            if isinstance(a, Tensor):
                if a.shape != b.shape or not torch.allclose(a, b, rtol=0, atol=0, equal_nan=True):
                    return False
            elif a != b:
                return False
        return True

    __hash__ = None  # type: ignore[assignment]

    def _select(self, x: Tensor, example: int, output: int | tuple[int, ...]) -> Tensor:
        """Return one example and output of ``(B, *outputs, S)``, ``(S,)``."""
        which = (example, *(output if isinstance(output, tuple) else (output,)))
        sizes = self.empty_value.shape
        if len(which) != len(sizes):
            raise ValueError(
                f"output must have an index for each dim of the outputs {tuple(sizes[1:])}, got "
                f"{output!r}"
            )
        names = ("example", *["output"] * (len(sizes) - 1))
        for name, index, size in zip(names, which, sizes, strict=True):
            if not -size <= index < size:
                raise IndexError(f"{name}={index} does not exist: there are {size}, 0..{size - 1}")
        return x[which]

    def _as_matrix(self, values: Tensor) -> Tensor:
        if self.order < 2:
            raise ValueError("interactions of order=1 are of single players; use order=2")
        num_players = self.num_players
        matrix = values[:num_players].diag()
        first, second = torch.triu_indices(num_players, num_players, 1)
        of_two = values[num_players : num_players + len(first)] / 2
        matrix[first, second] = of_two
        matrix[second, first] = of_two
        return matrix


def _named(names: Sequence[str], values: Tensor) -> dict[str, float | None]:
    numbers = values.tolist()
    return {n: x if x == x else None for n, x in zip(names, numbers, strict=True)}


def _tensor(rows: Sequence[Sequence[float | None]]) -> Tensor:
    return torch.tensor(
        [[float("nan") if x is None else x for x in row] for row in rows], dtype=torch.float64
    )
