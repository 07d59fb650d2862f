"""Methods that give values of a game share how it is solved, and the form of the result."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral._captum import format_output, is_tuple
from captum_spectral._engine.solving import check_estimator
from captum_spectral.coalitions import Estimator, PlayerEstimate
from captum_spectral.features.features import paint_ids
from captum_spectral.game import BandGame
from captum_spectral.weights.weight_game import WeightGame

__all__ = ["Solver", "gap_of", "in_form"]


class Solver:
    """The arguments that say how a game is solved, checked before there is one."""

    def __init__(
        self,
        n_samples: int | None,
        budget: int | None,
        estimator: str | None,
        prior: Any,
        generator: torch.Generator | None,
        *,
        index: str = "shapley",
        with_errors: bool = False,
    ) -> None:
        if n_samples is not None:
            n_samples = check_count("n_samples", n_samples)
            if with_errors and n_samples < 2:
                raise ValueError(
                    "return_standard_error needs n_samples >= 2 ordering pairs (or None, exact), "
                    f"got n_samples={n_samples}"
                )
        name, self._budget = check_estimator(estimator, budget, n_samples, index, with_errors)
        self._few = with_errors and name == "orderings" and self._budget is not None
        self._n_samples, self._estimator, self._prior = n_samples, estimator, prior
        self._generator, self._index = generator, index

    def solve(
        self,
        game: BandGame | WeightGame,
        rows_at_once: int | None,
        show_progress: bool,
        description: str,
    ) -> PlayerEstimate:
        """Solve a game; values and errors are rounded to the dtype of its values."""
        found = game.solve(self._estimator_of(game), rows_at_once, show_progress, description)
        # Rounded on the CPU: not every device has float64.
        phi, error = (x.to(found.full_value.dtype) for x in (found.values, found.standard_error))
        return found._replace(values=phi, standard_error=error)

    def _estimator_of(self, game: BandGame | WeightGame) -> Estimator:
        num_players = len(game.players)
        if (
            self._few
            and self._budget is not None
            and self._budget < min(2**num_players, 4 * num_players - 2)
        ):
            raise ValueError(
                f"return_standard_error needs two ordering pairs, budget={4 * num_players - 2} for "
                f"{num_players} players, got budget={self._budget}; "
                "estimator='gaussian_process' takes fewer"
            )
        return game.estimator(
            self._n_samples,
            self._generator,
            budget=self._budget,
            estimator=self._estimator,
            prior=self._prior,
            index=self._index,
        )


def in_form(
    values: Tensor, game: BandGame, inputs: Tensor | tuple[Tensor, ...], return_input_shape: bool
) -> Tensor | tuple[Tensor, ...]:
    """Paint band values ``(B, *outputs, M)`` where the shape of the inputs is asked for."""
    tensors = inputs if isinstance(inputs, tuple) else (inputs,)
    values = values.to(tensors[0].device)
    if not return_input_shape:
        return values
    if len(values) < game.num_examples and any(len(m) > 1 for m in game.feature_masks):
        raise ValueError(
            "forward_func gives one number per batch, so the masks of all examples must be the "
            "same: use a feature_mask with first dim 1, or return_input_shape=False"
        )
    painted = tuple(
        paint_ids(values, mask, x.shape)
        for mask, x in zip(game.feature_masks, tensors, strict=True)
    )
    result: Tensor | tuple[Tensor, ...] = format_output(is_tuple(inputs), painted)
    return result


def gap_of(phi: Tensor, full: Tensor, empty: Tensor) -> Tensor:
    """Return the sum of the values ``(..., M)`` less v(full) - v(empty), in their dtype."""
    full, empty = (x.to("cpu", torch.float64) for x in (full, empty))
    return (phi.sum(-1, dtype=torch.float64) - (full - empty)).to(phi.dtype)
