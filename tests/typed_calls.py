"""What a type checker knows of the calls that users make; checked by ``make types``, never run."""

from torch import Tensor, nn
from typing_extensions import assert_type

from captum_spectral import BandGame, FeatureSuppression, Game, SpectralShapley, find_boundary
from captum_spectral.boundary import Boundary
from captum_spectral.coalitions import Exact, PlayerEstimate
from captum_spectral.features import FourierBands


def shapley(model: nn.Module, x: Tensor, pair: tuple[Tensor, Tensor], asked: bool) -> None:
    """Attributions are of the kind of the inputs; what is asked for beside them makes a tuple."""
    explainer = SpectralShapley(model)
    assert_type(explainer.attribute(x, 1), Tensor)
    assert_type(explainer.attribute((x, x), [0, 1], num_bands=4), tuple[Tensor, ...])
    assert_type(explainer.attribute((x, x), return_input_shape=False), Tensor)
    values, delta = explainer.attribute(x, 1, return_convergence_delta=True)
    assert_type(values, Tensor)
    assert_type(delta, Tensor)
    both = explainer.attribute(
        x, 1, return_convergence_delta=True, return_standard_error=True, return_input_shape=False
    )
    assert_type(both, tuple[Tensor, Tensor, Tensor])
    painted, error = explainer.attribute(pair, return_standard_error=True)
    assert_type(painted, tuple[Tensor, ...])
    assert_type(error, tuple[Tensor, ...])
    explainer.attribute(x, 1, return_standard_error=asked)


def suppression(model: nn.Module, x: Tensor, pair: tuple[Tensor, Tensor], asked: bool) -> None:
    """Maps are of the kind of the inputs, the standard error too; a confidence is a tensor."""
    explainer = FeatureSuppression(model)
    assert_type(explainer.attribute(x, 1, domain="frequency", num_bands=4), Tensor)
    assert_type(explainer.attribute((x, x), return_standard_error=False), tuple[Tensor, ...])
    error = explainer.attribute(pair, return_standard_error=True)[1]
    assert_type(error, tuple[Tensor, ...])
    assert_type(explainer.attribute(x, 1, return_confidence=True)[1], Tensor)
    explainer.attribute(x, 1, return_standard_error=asked)


def games(model: nn.Module, x: Tensor) -> None:
    """Games are evaluated to tensors and solved to estimates."""
    game: Game = BandGame(model, x, 3)
    assert_type(game.solve(Exact(8)), PlayerEstimate)
    assert_type(Game(model, x, features=FourierBands()).num_features, int)
    assert_type(find_boundary(model, x, 1), Boundary)
