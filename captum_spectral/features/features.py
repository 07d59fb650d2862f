"""The family of features: what its members have in common, and what follows from that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from captum_spectral._arguments import warn

__all__ = ["Features", "OwnPlayers", "assign", "paint_ids", "signal_dtype", "split"]


class Features(ABC):
    r"""Parts of an input that can be present or absent, and so be players of a game.

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
        >>> explainer = SpectralShapley(lambda x: x[:, 0])  # half of each
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

    @property
    def num_features(self) -> int | None:
        """The most ids that an input can have; None where only an input tells.

        ``SpectralImportance`` makes room for so many before it sees an image.
        """
        return None

    def names(self, inputs: Tensor) -> tuple[str, ...] | None:
        """Return a short name for every id of inputs, for tables and figures; None: numbers."""
        return None


class OwnPlayers(tuple[Features, ...]):
    """Features of each of several inputs, whose players are each input's own."""


def assign(
    features: Features | tuple[Features, ...], inputs: tuple[Tensor, ...]
) -> tuple[tuple[Features, ...], tuple[Tensor, ...]]:
    """Say which features each input has, and which player each of their places is.

    Args:
        features: One for all inputs, whose players are then each input's own; or a tuple with one
            for each, where the same id in two inputs is one player, unless it is an
            :class:`OwnPlayers`.
        inputs: ``(B, *signal)`` each.

    Returns:
        For each input its features, and int64 ids ``(B or 1, ...)``.

    Warns:
        UserWarning: Ids are missing between 0 and the largest one.
    """
    each = features if isinstance(features, tuple) else (features,) * len(inputs)
    if len(each) != len(inputs):
        raise ValueError(
            f"features must be one for all inputs or one per input: got {len(each)} for "
            f"{len(inputs)} inputs"
        )
    ids: list[Tensor] = []
    first = 0
    for member, x in zip(each, inputs, strict=True):
        if not isinstance(member, Features):
            raise TypeError(
                "features must be a captum_spectral.features.Features, such as FourierBands() or "
                f"Pixels(), or a tuple of them, got {type(member).__name__}"
            )
        own = member.ids(x)
        if not isinstance(own, Tensor) or own.dtype is not torch.int64 or int(own.min()) < 0:
            raise TypeError(
                f"{type(member).__name__}.ids must return an int64 tensor of ids from 0 on, got "
                f"{getattr(own, 'dtype', type(own).__name__)}"
            )
        ids.append(own.to(x.device) + first)
        if not isinstance(features, tuple) or isinstance(features, OwnPlayers):
            first = int(ids[-1].max()) + 1
    present = torch.cat([own.unique().cpu() for own in ids]).unique()
    missing = int(present[-1]) + 1 - len(present)
    if missing:
        warn(
            f"feature_mask is missing {missing} of the integers between 0 and {int(present[-1])}; "
            "bands that hold no frequency get the attribution 0"
        )
    return each, tuple(ids)


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


def paint_ids(values: Tensor, ids: Tensor, shape: torch.Size) -> Tensor:
    """Give every place the value of its player.

    Args:
        values: ``(B or 1, *outputs, M)``.
        ids: ``(B or 1, ...)``, broadcastable to ``shape``.
        shape: ``(B, *signal)``.

    Returns:
        ``(B, *outputs, *signal)`` contiguous; first dim 1 where values and ids have it.
    """
    examples = max(len(values), len(ids))
    outputs = values.shape[1:-1]
    flat = values.expand(examples, *values.shape[1:]).reshape(examples, -1, values.shape[-1])
    index = ids.to(values.device).expand(examples, *shape[1:]).reshape(examples, 1, -1)
    painted = flat.gather(2, index.expand(-1, flat.shape[1], -1))  # (B, outputs, places)
    return painted.reshape(examples, *outputs, *shape[1:])
