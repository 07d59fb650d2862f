"""Draw labels anew, to train on."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_spectral._arguments import check_count

__all__ = ["noisy_labels"]


def noisy_labels(labels: Tensor, share: float, num_classes: int, seed: int = 0) -> Tensor:
    r"""Draw a share of the labels anew, evenly from all classes.

    Of :math:`N` labels the :math:`\operatorname{round}(\eta N)` that come first in a random order
    are replaced by draws from all :math:`K` classes. A draw may give the label that was there, so a
    share of :math:`\eta (1 - 1/K)` is wrong on average.

    With one seed the changes of a small share are among those of a larger one: the data sets of a
    study over several shares differ by what was added, and by nothing else.

    Args:
        labels: ``(N,)`` integers from 0 to ``num_classes - 1``.
        share: :math:`\eta`, from 0 to 1.
        num_classes: :math:`K`.
        seed: Of the order and of the draws. Default: 0

    Returns:
        ``(N,)`` new labels, of the dtype and on the device of ``labels``, which stay as they are.

    Raises:
        TypeError: Labels that are no tensor of integers.
        ValueError: Labels that are not ``(N,)`` or out of range, a share outside of [0, 1].

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.label_noise import noisy_labels
        >>> labels = torch.zeros(1000, dtype=torch.long)
        >>> some, more = noisy_labels(labels, 0.2, 10), noisy_labels(labels, 0.4, 10)
        >>> int((some != 0).sum()) <= 200 and bool((more[some != 0] != 0).all())
        True

    References:
        C. Zhang, S. Bengio, M. Hardt, B. Recht, O. Vinyals, *Understanding deep learning requires
        rethinking generalization*, ICLR 2017.
    """
    if not isinstance(labels, Tensor) or labels.dtype.is_floating_point or labels.is_complex():
        got = getattr(labels, "dtype", type(labels).__name__)
        raise TypeError(f"labels must be a tensor of integers (N,), got {got}")
    if labels.dtype is torch.bool:
        raise TypeError("labels must be a tensor of integers (N,), got torch.bool; use .long()")
    if labels.dim() != 1:
        raise ValueError(f"labels must be (N,), got shape {tuple(labels.shape)}")
    num_classes = check_count("num_classes", num_classes)
    seed = check_count("seed", seed, at_least=0)
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise ValueError(f"share must be a number from 0 to 1, got {share!r}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f"labels must lie in 0..{num_classes - 1}, got {int(labels.min())}.."
            f"{int(labels.max())}; num_classes={num_classes}"
        )
    generator = torch.Generator("cpu").manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator, device="cpu")
    # All are drawn, whatever the share: the draws of a label do not depend on it.
    drawn = torch.randint(num_classes, (len(labels),), generator=generator, device="cpu")
    changed = order[: round(share * len(labels))].to(labels.device)
    noisy = labels.clone()
    noisy[changed] = drawn.to(labels)[changed]
    return noisy
