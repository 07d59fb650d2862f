"""Find tensors of a state that have several names, and heads that only training uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

__all__ = ["drop_unused_heads", "shared_names"]

_HEADS = ("aux1", "aux2", "AuxLogits")  # of torchvision's GoogLeNet and Inception


def shared_names(state: Mapping[str, object]) -> dict[str, list[str]]:
    """Find the tensors of a state dict that are set when another one is.

    Args:
        state: ``module.state_dict()``, whose tensors are those of the module.

    Returns:
        Key to the other keys whose tensors lie over its memory, all of it; keys without such are
        left out.

    Example::

        >>> layer = nn.Linear(2, 2)
        >>> shared_names(nn.Sequential(layer, layer).state_dict())["1.bias"]
        ['0.bias']
    """
    groups: dict[tuple[object, int], list[tuple[str, int, int]]] = {}
    for key, x in state.items():
        if isinstance(x, Tensor) and not is_lazy(x) and not x.is_meta and _is_plain(x):
            start = int(x.storage_offset()) * x.element_size()
            end = start + int(x.numel()) * x.element_size()
            place = (x.device, x.untyped_storage().data_ptr())
            groups.setdefault(place, []).append((key, start, end))
    found: dict[str, list[str]] = {}
    for group in groups.values():
        for key, start, end in group:
            over = [k for k, s, e in group if k != key and s <= start and end <= e]
            if over:
                found[key] = over
    return found


def drop_unused_heads(module: nn.Module, keys: Iterable[str]) -> tuple[str, ...]:
    """Remove the auxiliary heads of a network for which there are no weights.

    Torchvision's GoogLeNet and Inception have heads that only training uses, and without weights
    these would be noise.

    Args:
        module: The network; the heads of it or of a part of it that have no keys become None.
        keys: The keys of a state dict.

    Returns:
        Beginnings of the keys that belong to heads which the network does not have.

    Example::

        >>> from torchvision.models import GoogLeNet
        >>> network = GoogLeNet(aux_logits=True, init_weights=False)
        >>> drop_unused_heads(network, ["fc.weight"])
        ('aux1.', 'aux2.')
        >>> network.aux1 is None
        True
    """
    from torchvision.models import GoogLeNet, Inception3

    keys = list(keys)
    absent = []
    for name, part in module.named_modules():
        if not isinstance(part, (GoogLeNet, Inception3)):
            continue
        for head in _HEADS[:2] if isinstance(part, GoogLeNet) else _HEADS[2:]:
            prefix = f"{name}.{head}." if name else f"{head}."
            if getattr(part, head, None) is not None and any(k.startswith(prefix) for k in keys):
                continue
            if hasattr(part, head):
                setattr(part, head, None)
            part.aux_logits = False
            absent.append(prefix)
    return tuple(absent)


def _is_plain(x: Tensor) -> bool:
    """Return whether a tensor has all its elements in one piece of memory."""
    try:
        return x.numel() > 0 and x.is_contiguous()
    except RuntimeError:  # sparse and nested ones
        return False
