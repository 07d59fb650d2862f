"""The game that frequency bands play for the output of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from captum_spectral._captum import BaselineType, TargetType
from captum_spectral._engine.outputs import Output
from captum_spectral.features.features import Features
from captum_spectral.features.fourier import SpectralDims, bands
from captum_spectral.game.game import Game

__all__ = ["BandGame"]


class BandGame(Game):
    r"""The game in which the frequency bands of an input are the players.

    .. math::
        v(S) = f(x_S), \qquad x_S = b + \sum_{i \in S} (x_i - b_i)

    with the bands :math:`x_i` and :math:`b_i` of input and baseline. It is :class:`Game` with the
    bands as features, and has its methods.

    Args:
        forward_func: The model, or any function of the inputs that Captum accepts.
        inputs: Real floating ``(B, ..., H, W)`` tensor, or a tuple of them.
        target: As everywhere in Captum; None keeps all outputs. Leave it out where the Captum
            method run on the game is given the target. Default: None
        baselines: What an absent band holds: None (zero), a number, a tensor of the input's shape
            or with first dim 1, or a tuple of those. Default: None
        additional_forward_args: Further arguments of ``forward_func``; tensors with one entry per
            example follow their example, also those in a dict, list or tuple. An input that is no
            player, such as metadata, is given here. Default: None
        feature_mask: Integer band ids over the unshifted Fourier plane (layout of
            ``torch.fft.fftn`` over the spectral dims), of the shape of the spectral dims or
            broadcastable to the input; a tuple of them for a tuple of inputs, where the same id in
            two tensors is one player. None: ``num_bands`` equal-width bands for each tensor.
            Default: None
        num_bands: Bands per input tensor when there is no ``feature_mask``. None: 8, or as many as
            fit. Default: None
        spectral_dims: The transformed dims. For a tuple of inputs also one entry for each, such as
            ``((-2, -1), (-1,), None)``; an input with None has no spectrum and is one player.
            Default: (-2, -1)
        features: Other players than these bands, see :class:`Game`. Default: None
        output: Which of several outputs of the model is meant, see
            :class:`~captum_spectral.game.OutputOf`. Default: None
        shortcuts: As in :class:`Game`. Default: True

    Attributes:
        num_bands (int): ``M``, the largest band id plus one.
        num_examples (int): ``B``.
        players (Tensor): ``(P,)`` the band ids that hold any frequency.
        feature_masks (tuple[Tensor, ...]): The masks, with the rank of their inputs.

    Raises:
        TypeError: Inputs, mask, baselines, target or counts of a wrong kind.
        ValueError: Non-finite inputs, shapes that do not fit, an asymmetric mask, a target of the
            wrong length, spectral dims out of range.

    Warns:
        UserWarning: The model, or a part of it, is in training mode: dropout and batch statistics
            would make the values random. The default ``spectral_dims`` go over channels: of images
            with channels last, or of signals ``(B, C, T)``; or not over the depth of volumes
            ``(B, C, D, H, W)``.

    Cost: no model rows until it is evaluated.

    Example::

        >>> import torch
        >>> from captum_spectral import BandGame
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 5)).eval()
        >>> game = BandGame(model, torch.randn(2, 3, 16, 16), num_bands=4)
        >>> game.evaluate(torch.eye(4, dtype=torch.bool)).shape
        torch.Size([2, 4, 5])
        >>> weights = torch.rand(6, 4, requires_grad=True)
        >>> game(weights, torch.tensor([0, 0, 0, 1, 1, 1])).shape
        torch.Size([6, 5])
    """

    _kind = "band"

    def __init__(
        self,
        forward_func: Callable[..., Any],
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType = None,
        *,
        baselines: BaselineType = None,
        additional_forward_args: Any = None,
        feature_mask: Tensor | tuple[Tensor, ...] | None = None,
        num_bands: int | None = None,
        spectral_dims: SpectralDims = (-2, -1),
        features: Features | tuple[Features, ...] | None = None,
        output: Output | None = None,
        shortcuts: bool = True,
    ) -> None:
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        super().__init__(
            forward_func,
            inputs,
            target,
            features=bands(feature_mask, num_bands, spectral_dims, tensors, features),
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            output=output,
            shortcuts=shortcuts,
        )

    @property
    def num_bands(self) -> int:
        """``M``, the largest band id plus one."""
        return self.num_features
