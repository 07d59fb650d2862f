"""Adversarial gradient integration, a peer of the boundary attributions.

D. Pan, X. Li, D. Zhu, *Explaining Deep Neural Network Models with Adversarial Gradient
Integration*, IJCAI 2021. From the example, one path of sign-gradient steps leads to each of some
false classes; the gradients of the true class are integrated along all of them. Written from the
paper's formulas, for comparison only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def adversarial_gradient_integration(
    model: nn.Module,
    x: Tensor,
    target: int,
    *,
    step: float,
    limits: tuple[float, float],
    num_classes: int = 20,
    max_steps: int = 20,
    batch: int = 4,
    seed: int = 0,
) -> Tensor:
    r"""The attributions of one example ``(1, C, H, W)``.

    .. math:: -\sum_{j} \sum_k \nabla p_c(x_k) \odot (x_{k+1} - x_k), \qquad
        x_{k+1} = \text{clip}(x_k + \epsilon\, \text{sign} \nabla p_j(x_k))

    over random false classes :math:`j`; a path ends where the model predicts its class.
    """
    with torch.no_grad():
        others = torch.randperm(
            model(x).shape[1], generator=torch.Generator().manual_seed(seed), device="cpu"
        )
    others = others[others != target][:num_classes]
    total = torch.zeros_like(x)
    for classes in others.split(batch):
        points = x.expand(len(classes), *x.shape[1:]).clone()
        for _ in range(max_steps):
            leaf = points.requires_grad_()
            p = model(leaf).softmax(1)
            moving = p.argmax(1) != classes
            of_target = torch.autograd.grad(p[:, target].sum(), leaf, retain_graph=True)[0]
            of_class = torch.autograd.grad(p.gather(1, classes[:, None]).sum(), leaf)[0]
            points = points.detach()
            moved = (points + step * of_class.sign()).clamp(*limits) - points
            total -= (of_target * moved)[moving].sum(0)
            points, classes = (points + moved)[moving], classes[moving]
            if not len(classes):
                break
    return total
