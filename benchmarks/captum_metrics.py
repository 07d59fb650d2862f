"""Captum's infidelity and sensitivity of the pixel attributions, where they apply.

EfficientNet-Lite0 on photographs, the logit of the predicted class. Infidelity: how far what the
attribution predicts Gaussian noise of ``--width`` of the range to do to the output is from what it
does; a slope predicts it as it is, an attribution that multiplies by the input after division by
input minus baseline. It is normalised as Captum does it (an attribution is right up to a factor),
and divided by the infidelity of predicting nothing. 0 is perfect; an attribution that knows
nothing has about ``1 - 1 / draws``, as the factor is fitted to the same draws. A map without a sign
predicts nothing, so Saliency and FeatureSuppression are signed here.

Sensitivity: the largest relative change of the map when the input moves by at most ``--radius``
(uniform, inside the valid range), with the class predicted there, which may be another one, and the
same random samples. Smaller is steadier.

"±" is the standard error over photographs.
"""

from __future__ import annotations

from functools import partial

import torch
from captum.metrics import infidelity, sensitivity_max
from common import arguments, photographs, report, start
from methods import (
    Method,
    Network,
    boundary_integrated_gradients,
    boundary_saliency,
    efficientnet_lite0,
    integrated_gradients,
    saliency,
    smooth_grad,
    suppression,
)
from torch import Tensor

from captum_spectral import find_boundary

METHODS: dict[str, Method] = {
    "Saliency": saliency,
    "IntegratedGradients": integrated_gradients,
    "SmoothGrad": smooth_grad,
    "BoundarySaliency": boundary_saliency,
    "BoundaryIntegratedGradients": boundary_integrated_gradients,
    "FeatureSuppression r=0.7": partial(suppression, ratio=0.7, absolute=False),
    "FeatureSuppression, 8 bands": partial(
        suppression, ratio=0.7, absolute=False, domain="frequency"
    ),
}


def slopes(name: str, network: Network, x: Tensor, target: int, attributions: Tensor) -> Tensor:
    """The attribution per unit of the input."""
    if name == "IntegratedGradients":
        way = x
    elif name == "BoundaryIntegratedGradients":
        points = find_boundary(network, x, target, clip=network.limits).points
        assert isinstance(points, Tensor)
        way = x - points
    else:
        return attributions
    return torch.where(way == 0, 0, attributions / way)


def unexplained(
    network: Network, x: Tensor, target: int, slope: Tensor, width: float, draws: int
) -> float:
    """Infidelity of one map to Gaussian noise, as a share of that of predicting nothing."""

    def noise(inputs: Tensor) -> tuple[Tensor, Tensor]:
        step = width * torch.randn_like(inputs)
        return step, inputs - step

    found = []
    for predicted in (slope, torch.zeros_like(slope)):
        torch.manual_seed(0)
        with torch.no_grad():
            missed = infidelity(
                *(network, noise, x, predicted),
                target=target,
                n_perturb_samples=draws,
                max_examples_per_batch=4,
                normalize=predicted is slope,
            )
        found.append(float(missed))
    return found[0] / found[1]


def unsteadiness(method: Method, network: Network, x: Tensor, radius: float, count: int) -> float:
    """Sensitivity of one map."""

    def explain(inputs: tuple[Tensor, ...] | Tensor) -> Tensor:
        # Captum gives a tuple once, and then what ``move`` returns.
        given = inputs[0] if isinstance(inputs, tuple) else inputs
        with torch.no_grad():
            target = int(network(given).argmax())
        return method(network, given, target)

    def move(inputs: Tensor) -> Tensor:
        step = radius * (2 * torch.rand_like(inputs) - 1)
        return (inputs + step).clamp(*network.limits)

    torch.manual_seed(0)
    return float(
        sensitivity_max(explain, x, move, n_perturb_samples=count, max_examples_per_batch=1)
    )


def main() -> None:
    """A line for each method."""
    parser = arguments(__doc__)
    parser.add_argument("--images", type=int, default=7)
    parser.add_argument("--width", type=float, default=0.005, help="of the noise, of the range")
    parser.add_argument("--draws", type=int, default=50, help="of the noise")
    parser.add_argument("--radius", type=float, default=0.01, help="of the moves")
    parser.add_argument("--moves", type=int, default=2)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    args = start(parser)

    network = efficientnet_lite0()
    table = []
    for name in args.methods:
        errors, moved = [], []
        for x in photographs(args.images).split(1):
            with torch.no_grad():
                target = int(network(x).argmax())
            slope = slopes(name, network, x, target, METHODS[name](network, x, target).detach())
            errors.append(
                unexplained(network, x, target, slope, args.width * network.width, args.draws)
            )
            moved.append(unsteadiness(METHODS[name], network, x, args.radius, args.moves))
        columns = {"infidelity": errors, "sensitivity": moved}
        table.append(
            {
                "method": name,
                **{
                    column: f"{t.mean():.3f} ± {t.std() / len(t) ** 0.5:.3f}"
                    for column, t in ((c, torch.tensor(v)) for c, v in columns.items())
                },
            }
        )
        print(table[-1], flush=True)
    report(args, f"Captum's metrics, {args.images} photographs", table)


if __name__ == "__main__":
    main()
