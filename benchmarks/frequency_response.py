"""The bounds of layers against power iterations through the layers themselves, and the speed.

First table: every convolution of EfficientNet-Lite0, in float64, on zero-padded maps of the size
that it has in the network and on larger ones, by many power iterations, which come from below; the
bound from 32 points per dim must never be below. On the larger maps a depthwise layer keeps the 32
channels that amplify most on the grid; all of them would take an hour. Second table: all singular
values of a layer, in turns with the recipe of Sedghi, Gupta and Long (2019), a transform of the
kernel padded to the grid and a batched SVD in NumPy; it knows no stride and no groups.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from common import arguments, efficientnet_lite0, in_turns, ratio, report, start
from torch import Tensor, nn

from captum_spectral.weights import frequency_response


def is_depthwise(layer: nn.Conv2d) -> bool:
    """Whether every channel is on its own."""
    return layer.groups == layer.in_channels == layer.out_channels


def strongest(layer: nn.Conv2d, most: int = 32) -> nn.Conv2d:
    """The same layer with the channels alone whose gain on the grid is the largest."""
    if not is_depthwise(layer) or layer.groups <= most:
        return layer
    gains = frequency_response(layer).singular_values()[..., 0].amax((0, 1))  # (channels,)
    chosen = gains.topk(most).indices
    part = copy.deepcopy(layer)
    part.in_channels = part.out_channels = part.groups = most
    part.weight = nn.Parameter(layer.weight[chosen], requires_grad=False)
    return part


def norm_from_below(layer: nn.Conv2d, size: tuple[int, ...], steps: int) -> float:
    """The largest norm of an output that power iterations found for an input of norm 1."""
    # Channels that are alone converge on their own.
    dims = (-2, -1) if is_depthwise(layer) else (-3, -2, -1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, layer.in_channels, *size, dtype=torch.float64, generator=generator)
    found = 0.0
    for _ in range(steps):
        norms = torch.linalg.vector_norm(x, dim=dims, keepdim=True)
        x = (x / norms.clamp(min=1e-300)).detach().requires_grad_()
        y = layer(x)
        found = max(found, float(torch.linalg.vector_norm(y.detach(), dim=dims).max()))
        (x,) = torch.autograd.grad(y, x, y.detach())
    return found


def bounds(args: Any) -> list[dict[str, Any]]:
    """One row for each layer."""
    model = efficientnet_lite0().requires_grad_(False)
    sizes: dict[str, tuple[int, int]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(
                lambda _, x, y, name=name: sizes.update({name: tuple(x[0].shape[2:])})
            )
    model(torch.zeros(1, 3, 224, 224))
    model.double()
    rows = []
    for name, own_size in list(sizes.items())[: args.layers]:
        layer = model.get_submodule(name)
        response = frequency_response(layer)
        bound = float(response.norm_bound())
        assert layer.bias is None  # power iterations are for linear maps
        flat = layer.kernel_size == (1, 1)  # every pixel for itself: a small map has the same norm
        own = norm_from_below(layer, (4, 4) if flat else own_size, args.steps)
        size = max(args.size, *own_size)
        large = own if flat else norm_from_below(strongest(layer), (size, size), args.steps)
        rows.append(
            {
                "layer": name,
                "kernel": layer.kernel_size[0],
                "stride": layer.stride[0],
                "map": own_size[0],
                "on that map": f"{own:.5f}",
                f"on {args.size} px or more": f"{large:.5f}",
                "grid": f"{float(response.norm()):.5f}",
                "bound": f"{bound:.5f}",
                "bound / largest found": round(bound / max(own, large), 4),
                "holds": max(own, large) <= bound,
            }
        )
        print(rows[-1], flush=True)
    return rows


def recipe(weight: np.ndarray, n: int) -> np.ndarray:
    """All singular values of a convolution without stride or groups, on an ``n x n`` ring."""
    transform = np.fft.fft2(weight, (n, n), axes=(2, 3)).transpose(2, 3, 0, 1)
    return np.linalg.svd(transform, compute_uv=False)


def speed(args: Any) -> list[dict[str, Any]]:
    """Dense layers without stride, which both can do, in float32."""
    rows = []
    for channels, n in ((3, 32), (16, 32), (64, 32), (64, 16), (128, 16))[: args.cases]:
        torch.manual_seed(0)
        layer = nn.Conv2d(channels, channels, 3, bias=False).requires_grad_(False)
        weight = layer.weight.numpy()

        def ours(layer: nn.Module = layer, n: int = n) -> Tensor:
            return frequency_response(layer, n).singular_values()

        def norm(layer: nn.Module = layer, n: int = n) -> Tensor:
            return frequency_response(layer, n).norm()

        tasks = {"recipe": lambda w=weight, n=n: recipe(w, n), "values": ours, "norm": norm}
        theirs, mine = recipe(weight, n), ours().numpy()[:, :, 0]
        times = in_turns(tasks, args.rounds)
        rows.append(
            {
                "channels": channels,
                "grid": f"{n} x {n}",
                "recipe, s": round(min(times["recipe"]), 4),
                "ours, s": round(min(times["values"]), 4),
                "recipe / ours": round(ratio(times["recipe"], times["values"]), 2),
                "recipe / norm alone": round(ratio(times["recipe"], times["norm"]), 2),
                "largest difference": f"{float(np.abs(theirs - mine).max()):.1e}",
            }
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Both tables."""
    parser = arguments(__doc__)
    parser.add_argument("--layers", type=int, help="only the first so many (default: all)")
    parser.add_argument("--steps", type=int, default=300, help="default: %(default)s")
    parser.add_argument("--size", type=int, default=96, help="default: %(default)s")
    parser.add_argument("--cases", type=int, help="only the first so many (default: all)")
    args = start(parser)
    compared = speed(args)
    rows = bounds(args)
    report(args, "Singular values of convolutions, recipe of Sedghi et al. and ours", compared)
    report(args, "Bounds of the layers of EfficientNet-Lite0", rows, speed=compared)


if __name__ == "__main__":
    main()
