"""Projected gradient steps inside a ball, and an l2 sweep over balls until one holds a flip."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from captum_spectral._engine.forward import gradients
from captum_spectral.boundary.balls import Ball, ball_of
from captum_spectral.boundary.box import Box
from captum_spectral.boundary.classifier import Classifier

__all__ = ["climb", "pgd"]


def pgd(
    classifier: Classifier,
    box: Box,
    starts: Tensor,
    *,
    radii: Sequence[float],
    max_steps: int,
) -> Tensor:
    r"""Return points that have crossed a boundary, in the smallest ball where that was found.

    Steps of length ``2 * radius / max_steps`` follow the normalised gradient of
    :math:`\max_{j \ne c} f_j - f_c`, which, unlike the cross entropy of the original, does not
    vanish where the model is confident. The ball is around the example.

    Args:
        classifier: The model and its examples.
        box: Where points may lie.
        starts: ``(B, ...)``, one per example, projected into each ball.
        radii: Of the balls, in the units of the inputs.
        max_steps: Steps in each ball.

    Returns:
        ``(B, ...)``, the start for those that crossed nowhere.

    Cost per example: at most ``max_steps + 1`` rows forward and ``max_steps`` backward in each ball
    up to the one where it crosses. Memory: the graph of the rows.
    """
    found = starts.clone()
    remaining = classifier.examples  # (R,) those that crossed in no smaller ball
    for radius in sorted(radii):
        points, crossed = climb(
            classifier,
            box,
            starts[remaining],
            remaining,
            lead=classifier.margin,
            ball=ball_of("l2"),
            radius=radius,
            max_steps=max_steps,
            step=2 * radius / max_steps,
        )
        found[remaining[crossed]] = points[crossed]
        remaining = remaining[~crossed]
        if not len(remaining):
            break
    return found


@torch.enable_grad()
def climb(
    classifier: Classifier,
    box: Box,
    starts: Tensor,
    examples: Tensor,
    *,
    lead: Callable[[Tensor, Tensor], Tensor],
    ball: Ball,
    radius: float,
    max_steps: int,
    step: float,
) -> tuple[Tensor, Tensor]:
    """Take projected steps down the lead of the classes, in one ball around each example.

    A row stops where it has crossed, which is looked at before every step and after the last, and
    where there is no way down.

    Args:
        classifier: The model and its examples.
        box: Where points may lie.
        starts: ``(R, ...)``, projected into the balls.
        examples: ``(R,)`` theirs.
        lead: Makes what is lowered ``(R,)`` from the outputs of rows and their examples.
        ball: The norm of the ball, in which steps are the steepest, too.
        radius: Its radius.
        max_steps: Steps at most.
        step: The norm of each.

    Returns:
        Points ``(R, ...)`` where each row stopped, and which crossed ``(R,)``.
    """
    center, box = classifier.inputs[examples], box.of(examples)
    points = box.clamp(center + ball.nearest(starts - center, radius))
    crossed = torch.zeros_like(examples, dtype=torch.bool)
    active = torch.arange(len(examples), device=examples.device)  # (A,) rows that still move
    for taken in range(max_steps + 1):
        leaf, logits = classifier.differentiable(points[active], examples[active])
        here = classifier.crossed(logits, examples[active])
        crossed[active[here]] = True
        if taken == max_steps or here.all():
            break
        (gradient,) = gradients(-lead(logits, examples[active]), (leaf,))
        free = box.of(active).without_blocked(points[active], gradient.to(points))
        direction = ball.steepest(free)
        moving = ~here & (direction != 0).flatten(1).any(1)
        active = active[moving]
        if not len(active):
            break
        offset = points[active] + step * direction[moving] - center[active]
        points[active] = box.of(active).clamp(center[active] + ball.nearest(offset, radius))
    return points, crossed
