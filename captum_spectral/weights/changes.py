"""Two sets of weights of one model, and the parts that their difference is made of."""

from __future__ import annotations

import copy
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from captum_spectral._arguments import check_count
from captum_spectral.features.features import Features
from captum_spectral.features.fourier import FourierBands
from captum_spectral.weights._layers import is_lazy, is_quantised
from captum_spectral.weights._matrices import check_has_values
from captum_spectral.weights._pairs import check_linear
from captum_spectral.weights.rounding import RoundedWeights

__all__ = ["BandChange", "Change", "LayerChange", "SingularChange", "module_of", "weights_of"]


def module_of(given: Any, argument: str, like: nn.Module | None = None) -> nn.Module:
    """Return the module that is meant: itself, rounded weights' model, or ``like`` on a state dict.

    Args:
        given: A module; what :func:`~captum_spectral.weights.quantize_weights` returned; with
            ``like`` a state dict, too.
        argument: Its name in errors.
        like: The module that is copied for a state dict; never changed.

    Raises:
        TypeError: Anything else, a state dict that holds no tensors.
        ValueError: A state dict with other names or shapes.
    """
    own = given.model if isinstance(given, RoundedWeights) else given
    if isinstance(own, nn.Module):
        return own
    if like is None or not isinstance(own, Mapping):
        also = "" if like is None else ", a state dict"
        raise TypeError(
            f"{argument} must be a torch.nn.Module{also} or what quantize_weights returns, got "
            f"{type(own).__name__}"
        )
    weights_of(like, own, argument)  # says what is wrong with it
    copied = copy.deepcopy(like)
    # The second name of a tied tensor may be missing.
    copied.load_state_dict(dict(own), strict=False)
    return copied


@torch.inference_mode(False)  # copies outlive the call, and autograd cannot use inference tensors
def weights_of(
    model: nn.Module,
    baselines: nn.Module | RoundedWeights | Mapping[str, Tensor],
    argument: str = "baselines",
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return name to (baseline, model) of every floating or complex tensor that differs.

    Args:
        model: One set of weights.
        baselines: The other.
        argument: Name of the baselines in errors. Default: "baselines"

    Raises:
        TypeError: A model that is no module, baselines that are neither a module, rounded weights
            nor tensors.
        ValueError: Names or shapes that differ, lazy, parametrised or quantised modules, values
            that are not finite, nothing that differs.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    own = _tensors(model, "model")
    if isinstance(baselines, RoundedWeights):
        baselines = baselines.model
    if isinstance(baselines, nn.Module):
        other = _tensors(baselines, argument)
    elif isinstance(baselines, Mapping):
        other = dict(baselines)
        wrong = [n for n, t in other.items() if not isinstance(t, Tensor)]
        if wrong:
            raise TypeError(
                f"{argument} must hold tensors, got {type(other[wrong[0]]).__name__} for "
                f"{wrong[0]!r}"
            )
        # A state dict has no buffers that are not saved; those are the model's.
        saved = set(model.state_dict())
        other |= {n: t for n, t in own.items() if n not in other and n not in saved}
    else:
        raise TypeError(
            f"{argument} must be a torch.nn.Module, a state dict or what quantize_weights returns, "
            f"got {type(baselines).__name__}"
        )
    # A tensor that has two names is one.
    tied = {n for n, _ in (*model.named_parameters(remove_duplicate=False),)} - own.keys()
    other = {name: t for name, t in other.items() if name not in tied}
    names = {name for name in own if name not in other}, {n for n in other if n not in own}
    if any(names):
        missing, unknown = (", ".join(sorted(some)[:5]) or "none" for some in names)
        raise ValueError(
            f"{argument} must have the weights of the model: missing {missing}; unknown {unknown}"
        )
    shapes = [n for n in own if own[n].shape != other[n].shape]
    if shapes:
        raise ValueError(
            f"{argument} must have the shapes of the model, but "
            + ", ".join(
                f"{n} is {tuple(other[n].shape)} and not {tuple(own[n].shape)}" for n in shapes[:5]
            )
        )
    changed = {}
    for name, weight in own.items():
        if not (weight.dtype.is_floating_point or weight.dtype.is_complex):
            continue
        if other[name].dtype.is_complex and not weight.dtype.is_complex:
            raise TypeError(f"{argument} must be real where the model is, but {name} is complex")
        baseline = other[name].detach().to(weight)
        for which, t in (("model", weight), (argument, baseline)):
            check_has_values(t, f"{name} of {which}")
            if not t.detach().isfinite().all():
                raise ValueError(f"{which} must be finite, and {name} holds NaN or infinities")
        if not torch.equal(baseline, weight):
            changed[name] = baseline.clone(), weight.detach().clone()
    if not changed:
        raise ValueError(
            f"{argument} must differ from the model, and all floating weights are equal"
        )
    # Parameters come before buffers; a module's belong together, in the order of the modules.
    order = {name: place for place, (name, _) in enumerate(model.named_modules())}
    return dict(sorted(changed.items(), key=lambda item: order[_owner(item[0])]))


def _tensors(module: nn.Module, argument: str) -> dict[str, Tensor]:
    """Return all weights and buffers of a module by name, those that it does not save, too."""
    for name, child in module.named_modules():
        which = f"{argument}: {name or 'the model'} ({type(child).__name__})"
        if is_lazy(child):
            raise ValueError(f"{which} is lazy; run the model once first")
        if parametrize.is_parametrized(child):
            raise ValueError(
                f"{which} is parametrised; use torch.nn.utils.parametrize.remove_parametrizations"
            )
        if is_quantised(child):
            raise ValueError(f"{which} holds packed integers; dequantise it first")
    return {
        **dict(module.named_parameters()),
        **dict(module.named_buffers()),
    }


class Change(ABC):
    """The difference of two sets of weights as a sum of parts, each of which can be left out.

    Attributes:
        names: One for each part.
    """

    names: tuple[str, ...]

    @abstractmethod
    def run(self, model: nn.Module, gates: Tensor, arguments: tuple[Any, ...]) -> Any:
        """Run the model with each part of the change weighted by its gate ``(P,)``.

        Gates of 1 give the model, gates of 0 the baseline, to the last bit; differentiable.
        """


class LayerChange(Change):
    """Parts are modules with all that differs in them, or groups of tensors.

    Args:
        changed: Of :func:`weights_of`.
        players: None: a module for each part; or tensor name to id, Captum's feature mask.
    """

    def __init__(
        self,
        changed: dict[str, tuple[Tensor, Tensor]],
        players: Mapping[str, int] | None = None,
    ) -> None:
        self._changed = changed
        if players is None:
            owners = list(dict.fromkeys(map(_owner, changed)))
            self.names = tuple(owner or "(the model itself)" for owner in owners)
            self._player = {name: owners.index(_owner(name)) for name in changed}
            return
        missing = [name for name in changed if name not in players]
        if missing:
            raise ValueError(
                f"players must say the player of every tensor that differs; {missing[0]!r} is "
                f"missing, and {len(missing) - 1} more"
            )
        ids = {name: players[name] for name in changed}
        for name, player in ids.items():
            if isinstance(player, bool) or not isinstance(player, int) or player < 0:
                raise TypeError(f"players[{name!r}] must be an integer from 0 on, got {player!r}")
        present = sorted(set(ids.values()))
        self._player = {name: present.index(player) for name, player in ids.items()}
        self.names = tuple(
            ", ".join(name for name, player in ids.items() if player == each) for each in present
        )

    def run(self, model: nn.Module, gates: Tensor, arguments: tuple[Any, ...]) -> Any:
        """Run the model on weights between the two."""
        weights = {
            name: torch.lerp(old, new, gates[self._player[name]].to(new))
            for name, (old, new) in self._changed.items()
        }
        if gates.requires_grad:
            _as_weights(model, weights)
        return functional_call(model, weights, arguments)

    def relative_changes(self) -> list[float]:
        """Return the norm of each part over that of the baseline's tensors in it."""
        squares = torch.zeros(2, len(self.names), dtype=torch.float64)
        for name, (old, new) in self._changed.items():
            for row, x in zip(squares, (new - old, old), strict=True):
                row[self._player[name]] += float(x.abs().double().square().sum())
        return (squares[0] / squares[1]).sqrt().tolist()  # infinite where there was nothing


def _owner(name: str) -> str:
    """Return the module that a tensor belongs to."""
    return name.rpartition(".")[0]


def _as_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put running statistics that have gradients into weight and bias of their batch norm.

    PyTorch's batch norm has no gradient for them. Its output is the same with the model's own
    statistics and

        weight' = weight sqrt(var + eps) / sqrt(var' + eps)
        bias'   = bias + weight (mean - mean') / sqrt(var' + eps)
    """
    for name, module in model.named_modules():
        mean, var, weight, bias = (
            f"{name}.{own}" if name else own
            for own in ("running_mean", "running_var", "weight", "bias")
        )
        if not isinstance(module, _BatchNorm) or not {mean, var} & weights.keys():
            continue
        if module.weight is None or module.running_mean is None or module.running_var is None:
            raise ValueError(
                f"{name} ({type(module).__name__}) has other statistics and no weight: the game is "
                "not differentiable in its gates; use its coalitions"
            )
        new_mean = weights.pop(mean, module.running_mean)
        new_var = weights.pop(var, module.running_var)
        scale = weights.get(weight, module.weight) * (new_var + module.eps).rsqrt()
        shift = weights.get(bias, module.bias) + scale * (module.running_mean - new_mean)
        weights[weight] = scale * (module.running_var + module.eps).sqrt()
        weights[bias] = shift


class _OneLayer(Change):
    """The change of one module; all other weights are the model's."""

    def __init__(
        self, model: nn.Module, changed: dict[str, tuple[Tensor, Tensor]], layer: str | None
    ) -> None:
        layers = list(dict.fromkeys(map(_owner, changed)))
        if layer is None and len(layers) == 1:
            layer = layers[0]
        if layer not in layers:
            raise ValueError(
                f"layer must name one module that differs, got {layer!r}; these do: "
                + ", ".join(layers[:8])
            )
        assert layer is not None
        self.layer, self.module = layer, model.get_submodule(layer)
        prefix = f"{layer}." if layer else ""
        self.changed = {
            name.removeprefix(prefix): pair
            for name, pair in changed.items()
            if _owner(name) == layer
        }
        self._prefix = prefix
        if "weight" not in self.changed or self.changed["weight"][0].dim() < 2:
            raise ValueError(
                f"layer {layer!r} ({type(self.module).__name__}) must have a weight of two or more "
                "dims that differs"
            )

    def full(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights under their names in the model."""
        return {f"{self._prefix}{name}": weight for name, weight in weights.items()}


class SingularChange(_OneLayer):
    """Parts are groups of singular components of the change of one layer, largest first.

    Args:
        model: Whose.
        changed: Of :func:`weights_of`.
        layer: Name of the module; None: the only one that differs.
        num_groups: How many groups of about as many components, 8 or as many as there are.
    """

    def __init__(
        self,
        model: nn.Module,
        changed: dict[str, tuple[Tensor, Tensor]],
        layer: str | None = None,
        num_groups: int | None = None,
    ) -> None:
        super().__init__(model, changed, layer)
        old, new = (_wide(w) for w in self.changed["weight"])
        u, s, vh = torch.linalg.svd((new - old).flatten(1), full_matrices=False)
        most = len(s)
        groups = min(8, most) if num_groups is None else check_count("num_groups", num_groups)
        if groups > most:
            raise ValueError(f"num_groups must be at most {most} for {self.layer}, got {groups}")
        ends = [round(g * most / groups) for g in range(groups + 1)]
        self._parts = torch.stack(
            [((u[:, a:b] * s[a:b]) @ vh[a:b]).reshape(new.shape) for a, b in pairwise(ends)]
        )
        self.names = tuple(
            f"component {a}" if b - a == 1 else f"components {a}-{b - 1}" for a, b in pairwise(ends)
        )
        self._rest = [name for name in self.changed if name != "weight"]
        if self._rest:
            self.names += (", ".join(self._rest),)

    def run(self, model: nn.Module, gates: Tensor, arguments: tuple[Any, ...]) -> Any:
        """Run the model on the sum of components."""
        old, new = self.changed["weight"]
        own = gates[: len(self._parts)].to(self._parts)
        # All components are the new weight itself, without the rounding of their sum.
        whole = bool((own == 1).all()) and not own.requires_grad
        some = new if whole else _wide(old) + torch.tensordot(own, self._parts, dims=1)
        weights = {"weight": some.to(new)}
        for name in self._rest:
            weights[name] = torch.lerp(*self.changed[name], gates[-1].to(new))
        return functional_call(model, self.full(weights), arguments)


class BandChange(_OneLayer):
    r"""Parts are what the change of one layer does to the frequency bands of the layer's input.

    .. math:: y = \mathrm{layer}(x; W_0) + \sum_b g_b\, \mathrm{layer}(P_b x; \Delta)

    The model runs on the baseline's weights of the layer, and a hook calls the layer once more on
    the bands with the change as its weights, so that its stride, its padding and whatever a
    subclass does stay right. A change of its bias belongs to the lowest band.

    Args:
        model: Whose.
        changed: Of :func:`weights_of`.
        layer: Name of the module; None: the only one that differs.
        features: The bands. None: :class:`~captum_spectral.features.FourierBands` over the layer's
            spatial dims.
        run_once: A forward pass, which tells the size of the layer's input.
    """

    def __init__(
        self,
        model: nn.Module,
        changed: dict[str, tuple[Tensor, Tensor]],
        layer: str | None,
        features: Features | None,
        run_once: Callable[[], Any],
    ) -> None:
        super().__init__(model, changed, layer)
        kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        if not isinstance(self.module, kinds):
            raise ValueError(
                f"layer {self.layer!r} must be a convolution to have bands of its input, got "
                f"{type(self.module).__name__}"
            )
        check_linear(self.module, f"layer {self.layer!r}")
        dims = tuple(range(2 - self.changed["weight"][0].dim(), 0))
        self._features = FourierBands(spectral_dims=dims) if features is None else features
        self._lock = threading.RLock()
        seen: list[Tensor] = []
        handle = self.module.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            with torch.no_grad():
                run_once()
        finally:
            handle.remove()
        if len(seen) != 1:
            raise ValueError(
                f"layer {self.layer!r} must run once in a forward pass, and runs {len(seen)} times"
            )
        self._ids = self._features.ids(seen[0][:1])
        self._players = self._features.of_coefficients(self._ids).unique().cpu()
        self.names = tuple(f"band {int(b)}" for b in self._players)
        self._old = self.full({name: old for name, (old, _) in self.changed.items()})
        self._change = {name: new - old for name, (old, new) in self.changed.items()}
        if self.module.bias is not None:  # the layer adds its own unless it is given another
            self._change.setdefault("bias", torch.zeros_like(self.module.bias))

    def run(self, model: nn.Module, gates: Tensor, arguments: tuple[Any, ...]) -> Any:
        """Run the model, whose layer sees the change only in the bands that are on."""
        if not gates.requires_grad and bool((gates == 1).all()):
            return model(*arguments)  # to the last bit
        change = dict(self._change)
        if "bias" in change:
            change["bias"] = gates[0].to(change["bias"]) * change["bias"]
        inside = threading.local()

        def add_change(module: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor | None:
            if getattr(inside, "on", False):
                return None
            inside.on = True
            try:
                part = self._bands(given[0], gates.to(given[0]))
                more: Tensor = functional_call(module, change, (part, *given[1:]))
                return output + more
            finally:
                inside.on = False

        with self._lock:  # another thread's forward pass would meet the hook
            handle = None
            if gates.requires_grad or bool(gates.any()):
                handle = self.module.register_forward_hook(add_change)
            try:
                return functional_call(model, self._old, arguments)
            finally:
                if handle is not None:
                    handle.remove()

    def _bands(self, x: Tensor, gates: Tensor) -> Tensor:
        """Return the sum of the bands of ``x``, weighted by ``gates``."""
        owners = self._features.of_coefficients(self._ids.to(x.device))
        places = torch.searchsorted(self._players.to(x.device), owners.contiguous())
        kept = self._features.transform(_wide(x)) * gates[places]
        return self._features.inverse(kept, x.shape).to(x)


def _wide(x: Tensor) -> Tensor:
    """Return a tensor in a precision that has transforms and decompositions."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
