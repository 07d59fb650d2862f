"""``budget=``: how many rows the model sees, whose values they are, and what is refused."""

import pytest
import torch
from helpers import Counting, Quadratic, tiny_cnn

from captum_spectral import BandGame, SpectralBanzhaf, SpectralShapley
from captum_spectral.coalitions import ESTIMATORS
from captum_spectral.features import Pixels

X = torch.rand(3, 1, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def seeded(seed=5):
    return torch.Generator().manual_seed(seed)


def bands(cls, model, x, budget, **arguments):
    arguments = {"num_bands": 6, "return_input_shape": False, "generator": seeded(), **arguments}
    return cls(model).attribute(x, 0, budget=budget, **arguments)


@pytest.mark.parametrize("budget", [4, 5, 15, 40, 63, 64, 1000])
@pytest.mark.parametrize("cls", [SpectralShapley, SpectralBanzhaf])
def test_a_model_never_sees_more_rows_than_the_budget(cls, budget):
    model = Counting(tiny_cnn(1))
    bands(cls, model, X, budget, perturbations_per_eval=3)
    expected = min(budget, 64)
    assert 3 * (expected - 1) <= model.rows <= 3 * expected


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_estimator_sees_more(estimator):
    for budget in (40, 50):
        model = Counting(tiny_cnn(1))
        bands(SpectralShapley, model, X, budget, estimator=estimator)
        assert model.rows <= 3 * budget


@pytest.mark.parametrize("cls", [SpectralShapley, SpectralBanzhaf])
@pytest.mark.parametrize("estimator", ["gaussian_process", "cross_fitted", "regression", None])
def test_a_budget_of_all_coalitions_gives_exact_values(cls, estimator):
    model = tiny_cnn(1)
    with_errors = {} if estimator == "regression" else {"return_standard_error": True}
    found = bands(cls, model, X, 64, estimator=estimator, **with_errors)
    values = found[0] if with_errors else found
    exact = bands(cls, model, X, None)
    torch.testing.assert_close(values, exact)
    if with_errors:
        assert not found[1].any()


def test_banzhaf_values_are_the_mean_over_all_coalitions():
    model = Quadratic((1, 12, 12))
    game = BandGame(model, X, 0, num_bands=4)
    table = game.evaluate(torch.tensor([[c >> i & 1 == 1 for i in range(4)] for c in range(16)]))
    expected = torch.zeros(3, 4, dtype=torch.float64)
    for i in range(4):
        for c in range(16):
            if not c >> i & 1:
                expected[:, i] += (table[:, c | 1 << i] - table[:, c]) / 8
    values = SpectralBanzhaf(model).attribute(X, 0, num_bands=4, return_input_shape=False)
    torch.testing.assert_close(values, expected)
    painted = SpectralBanzhaf(model).attribute(X, 0, num_bands=4)
    assert painted.shape == X.shape
    assert not SpectralBanzhaf(model).has_convergence_delta()


@pytest.mark.parametrize("cls", [SpectralShapley, SpectralBanzhaf])
@pytest.mark.parametrize("estimator", ["gaussian_process", "cross_fitted"])
def test_the_exact_value_is_within_four_standard_errors(cls, estimator):
    model = tiny_cnn(1)
    arguments = {"num_bands": 6, "return_standard_error": True, "estimator": estimator}
    values, error = bands(cls, model, X, 40, **arguments)
    exact = bands(cls, model, X, None)
    assert ((values - exact).abs() <= 4 * error + 1e-9).all()
    assert (error > 0).all()


def test_shapley_values_of_a_budget_are_efficient():
    delta = bands(SpectralShapley, tiny_cnn(1), X, 30, return_convergence_delta=True)[1]
    assert delta.abs().max() < 1e-10


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_nobody_elses_example_and_no_chunk_changes_a_value(estimator):
    model = tiny_cnn(1)
    arguments = {"estimator": estimator}
    whole = bands(SpectralShapley, model, X, 40, **arguments)
    flipped = bands(SpectralShapley, model, X.flip(0), 40, **arguments)
    alone = bands(SpectralShapley, model, X[1:2], 40, perturbations_per_eval=7, **arguments)
    torch.testing.assert_close(whole, flipped.flip(0))
    torch.testing.assert_close(whole[1:2], alone)


def test_all_outputs_come_from_the_same_rows():
    model = Counting(tiny_cnn(1))
    arguments = {"num_bands": 6, "return_input_shape": False, "budget": 40}
    together = SpectralShapley(model).attribute(X, generator=seeded(), **arguments)
    assert model.rows == 3 * 40
    assert together.shape == (3, 5, 6)
    one = SpectralShapley(model).attribute(X, 2, generator=seeded(), **arguments)
    torch.testing.assert_close(together[:, 2], one)


def test_a_seed_says_which_coalitions():
    model = tiny_cnn(1)
    first, again = (bands(SpectralShapley, model, X, 20) for _ in range(2))
    other = bands(SpectralShapley, model, X, 20, generator=seeded(6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(3)
    from_global = bands(SpectralShapley, model, X, 20, generator=None)
    torch.manual_seed(3)
    assert torch.equal(from_global, bands(SpectralShapley, model, X, 20, generator=None))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_features_that_are_the_baselines_play_no_part(estimator):
    """Channels 0 and 2 of the second example, and all of the third, are those of the baseline."""
    x = torch.rand(3, 7, generator=seeded(), dtype=torch.float64)
    baseline = torch.rand(1, 7, generator=seeded(9), dtype=torch.float64)
    x[1, [0, 2]] = baseline[0, [0, 2]]
    x[2] = baseline[0]
    model = Counting(Quadratic((7,)))
    arguments = {"features": Pixels(), "return_input_shape": False, "baselines": baseline}
    # 32 coalitions of the five players of the second example are all there are.
    values = SpectralShapley(model).attribute(
        x, 1, budget=60, estimator=estimator, generator=seeded(), **arguments
    )
    assert model.rows <= 3 * 60
    assert not values[1, [0, 2]].any()
    assert not values[2].any()
    exact = SpectralShapley(model).attribute(x, 1, **arguments)
    torch.testing.assert_close(values[1], exact[1])
    torch.testing.assert_close(values.sum(1), exact.sum(1))


def test_weights_in_place_of_energies():
    model = tiny_cnn(1)
    game = BandGame(model, X, 0, num_bands=6)
    energies = game.signals.energies()
    by_energy = bands(SpectralShapley, model, X, 40)
    as_weights = bands(SpectralShapley, model, X, 40, prior=energies.sqrt())
    torch.testing.assert_close(by_energy, as_weights)
    as_numbers = bands(SpectralShapley, model, X, 40, prior=energies[0].sqrt().tolist())
    torch.testing.assert_close(by_energy[0], as_numbers[0])
    flat = bands(SpectralShapley, model, X, 20, prior="flat")
    assert not torch.equal(flat, bands(SpectralShapley, model, X, 20))


def test_weights_of_bands_that_are_not_there_count_nothing():
    mask = torch.zeros(12, 12, dtype=torch.int64)
    mask[0, 0] = 2  # no band 1
    with pytest.warns(UserWarning, match="missing 1 of the integers"):
        values = SpectralShapley(tiny_cnn(1)).attribute(
            X, 0, feature_mask=mask, budget=4, prior=[1.0, 2.0, 3.0], return_input_shape=False
        )
    assert values.shape == (3, 3)
    assert not values[:, 1].any()


def test_energies_are_those_of_the_parts():
    channels = torch.arange(2)[:, None, None].expand(2, 8, 8)
    x = torch.rand(2, 2, 8, 8, generator=seeded())
    baseline = torch.rand(1, 2, 8, 8, generator=seeded(1))
    for features in (None, Pixels(channels)):
        game = BandGame(tiny_cnn(2), x, baselines=baseline, features=features, num_bands=None)
        energies = game.signals.energies()
        total = (x - baseline).double().square().sum((1, 2, 3))
        largest = (x - baseline).abs().amax((1, 2, 3)).double()
        torch.testing.assert_close(energies.sum(1), total / largest**2, rtol=1e-5, atol=0)
    torch.testing.assert_close(
        energies,
        (x - baseline).double().square().sum((2, 3)) / largest[:, None] ** 2,
        rtol=1e-5,
        atol=0,
    )


def test_half_precision_and_several_inputs():
    model = Quadratic((1, 12, 12), (8,))
    x = (X.float(), torch.rand(3, 8, generator=seeded()))
    values, error = SpectralShapley(model).attribute(
        x,
        1,
        features=(
            Pixels(torch.arange(144).reshape(1, 12, 12) // 36),
            Pixels(torch.arange(8) % 3 + 4),
        ),
        budget=40,
        return_input_shape=False,
        return_standard_error=True,
    )
    assert values.shape == error.shape == (3, 7)
    half = SpectralShapley(tiny_cnn(1, dtype=torch.bfloat16)).attribute(
        X.bfloat16(), 0, num_bands=5, budget=20, return_input_shape=False
    )
    assert half.dtype == torch.float32
    assert half.isfinite().all()


REFUSED = [
    ({"budget": 3}, ValueError, "budget must be at least 4, got 3"),
    ({"budget": 4.5}, TypeError, "budget must be an integer or None, got 4.5"),
    ({"budget": True}, TypeError, "budget must be an integer"),
    ({"budget": 64, "n_samples": 2}, ValueError, "give one of them: got budget=64 and n_samples=2"),
    ({"estimator": "gaussian_process"}, ValueError, "needs a budget.*such as budget=128"),
    ({"estimator": "orderings"}, ValueError, "estimator='orderings' needs a budget"),
    (
        {"budget": 9, "estimator": "kernel"},
        ValueError,
        "must be one of 'gaussian_process', 'cross_f",
    ),
    ({"budget": 9, "estimator": 1}, TypeError, "estimator must be one of .*, got int"),
    (
        {"budget": 40, "estimator": "regression", "return_standard_error": True},
        ValueError,
        "'regression' does not know its errors; use 'gaussian_process' or 'cross_fitted'",
    ),
    (
        {"budget": 20, "estimator": "orderings", "return_standard_error": True},
        ValueError,
        "needs two ordering pairs, budget=34 for 9 players, got budget=20",
    ),
    (
        {"budget": 16, "estimator": "orderings"},
        ValueError,
        "9 players needs budget=18 or more, got 16",
    ),
    ({"budget": 16, "estimator": "regression"}, ValueError, "9 players needs budget=20 or more"),
    ({"budget": 16, "estimator": "cross_fitted"}, ValueError, "use budget=[0-9]+ or more"),
    (
        {"budget": 16, "prior": "energies"},
        ValueError,
        "'energy', 'flat' or weights, got 'energies'",
    ),
    ({"budget": 16, "prior": object()}, TypeError, "real weights, got object"),
    ({"budget": 16, "prior": [1.0, 2.0]}, ValueError, r"\(9,\) or \(3, 9\), got shape \(2,\)"),
    ({"budget": 16, "prior": [-1.0] * 9}, ValueError, "none below 0 and not all 0"),
    ({"budget": 16, "prior": torch.zeros(3, 9)}, ValueError, "not all 0"),
    ({"budget": 16, "prior": torch.full((9,), torch.nan)}, ValueError, "finite weights"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED)
def test_what_is_refused_before_any_forward_pass(arguments, error, message):
    model = Counting(tiny_cnn(1))
    x = X if arguments.get("num_bands", 9) < 7 else torch.rand(3, 1, 20, 20).double()
    with pytest.raises(error, match=message):
        SpectralShapley(model).attribute(x, 0, num_bands=9, **arguments)
    assert model.calls == 0


def test_orderings_give_no_banzhaf_values():
    with pytest.raises(ValueError, match="got 'orderings': orderings give Shapley values"):
        bands(SpectralBanzhaf, tiny_cnn(1), X, 40, estimator="orderings")


def test_a_budget_beyond_two_to_the_sixteen_may_be_exact():
    game = BandGame(tiny_cnn(1), torch.rand(1, 1, 64, 64).double(), 0, num_bands=17)
    assert game.estimator(budget=2**17).coalitions.shape == (2**17, 17)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_samples": 3, "index": "banzhaf"}, "n_samples=3 counts orderings, which give Shapley"),
        ({"index": "owen"}, "index must be 'shapley' or 'banzhaf', got 'owen'"),
    ],
)
def test_an_index_is_never_taken_for_another(arguments, message):
    game = BandGame(tiny_cnn(1), X, 0, num_bands=3)
    with pytest.raises(ValueError, match=message):
        game.estimator(**arguments)
