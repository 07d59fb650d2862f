"""The family of features: what its members have in common, and what follows from that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

__all__ = ["Features", "signal_dtype", "split"]


class Features(ABC):
    r"""What can be present in an input or absent from it, and so be a player of a game.

    A linear transform :math:`T` turns a signal into coefficients, and every coefficient belongs to
    one player. The signal that holds the players in :math:`S` of the input :math:`x`, and those
    outside of it of the baseline :math:`b`, is

    .. math:: x_S = b + T^{-1}\big[\, 1[\text{ids} \in S] \cdot T(x - b) \,\big]

    A member of the family says three things: :meth:`ids`, :meth:`transform`, :meth:`inverse`. It
    knows no model and no game, and holds nothing of an input, so one object serves inputs of any
    size, dtype and device. ``SpectralShapley``, ``FeatureSuppression``, ``Game`` and the insertion
    and deletion curves take any member as ``features=``.

    Example::

        >>> import torch
        >>> from captum_spectral import SpectralShapley
        >>> from captum_spectral.features import Features
        >>> class Halves(Features):
        ...     "The sum and the difference of the two halves of a signal (B, 2 n)."
        ...     def ids(self, inputs):
        ...         return (torch.arange(inputs.shape[1]) >= inputs.shape[1] // 2).long()[None]
        ...     def transform(self, x):
        ...         first, second = x.chunk(2, 1)
        ...         return torch.cat([first + second, first - second], 1)
        ...     def inverse(self, coefficients, shape):
        ...         total, difference = coefficients.chunk(2, 1)
        ...         return torch.cat([total + difference, total - difference], 1) / 2
        >>> x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
        >>> explainer = SpectralShapley(lambda x: x[:, 0])        # x0 = (x0 + x2) / 2 + (x0 - x2) / 2
        >>> explainer.attribute(x, features=Halves(), return_input_shape=False)
        tensor([[ 2., -1.]])
    """

    pixelwise: ClassVar[bool] = False
    """Whether the transform is the identity, so that signals are chosen place by place, exactly."""

    @abstractmethod
    def ids(self, inputs: Tensor) -> Tensor:
        """Return the player of each place, for inputs ``(B, *signal)``.

        Returns:
            int64 ids ``(B or 1, ...)``, counted from 0, on the device of the inputs. They are in
            the layout in which values are painted, which is that of the coefficients unless
            :meth:`of_coefficients` says otherwise, and broadcast to it. The same id in two inputs
            is one player.

        Raises:
            TypeError, ValueError: The features do not fit these inputs.
        """

    @abstractmethod
    def transform(self, x: Tensor) -> Tensor:
        """Return the coefficients ``(R, *coefficients)`` of real signals ``(R, *signal)``."""

    @abstractmethod
    def inverse(self, coefficients: Tensor, shape: torch.Size) -> Tensor:
        """Return the real signals of coefficients; ``shape`` is that of the signals, ``(R, ...)``.

        Only the sizes beyond dim 0 of ``shape`` count. Differentiable in the coefficients.
        """

    def of_coefficients(self, ids: Tensor) -> Tensor:
        """Return the players of the coefficients themselves, from the :meth:`ids` of an input."""
        return ids


def split(
    features: Features, x: Tensor, ids: Tensor, players: Tensor, out: Tensor | None = None
) -> Tensor:
    """Split signals ``x (B, *signal)`` into their parts ``(B, P, *signal)``, one for each player.

    The parts are transformed one by one: memory is that of the result (``out``, if given) and of
    two signals.

    Args:
        features: Which.
        x: In the dtype of the result.
        ids: What ``features.ids`` says of the inputs.
        players: ``(P,)`` ids, on the CPU.
        out: Where the result goes. Default: None
    """
    coefficients = features.transform(x)
    owners = features.of_coefficients(ids)
    parts = x.new_empty((len(x), len(players), *x.shape[1:])) if out is None else out
    for p, player in enumerate(players.tolist()):
        parts[:, p] = features.inverse(coefficients * (owners == player), x.shape)
    return parts


def signal_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which signals of a dtype are computed: never less than float32."""
    return torch.promote_types(dtype, torch.float32)
