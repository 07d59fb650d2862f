"""Captum's methods and metrics on the game that the bands play."""

import pytest
import torch
from captum.attr import (
    GradientShap,
    IntegratedGradients,
    KernelShap,
    NoiseTunnel,
    Saliency,
    ShapleyValueSampling,
)
from captum.metrics import infidelity
from helpers import Counting, Quadratic, tiny_cnn
from torch import nn

from captum_spectral import BandGame, SpectralShapley

X = torch.rand(3, 1, 10, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ONES = torch.ones(3, 3, dtype=torch.float64)
INDEX = torch.arange(3)


def by_band(model=None, target=(0, 3, 1)):
    model = tiny_cnn(1) if model is None else model
    return SpectralShapley(model).attribute(X, list(target), num_bands=3, return_input_shape=False)


@pytest.mark.parametrize("internal_batch_size", [None, 4])
def test_integrated_gradients_in_band_space_sum_to_the_same_gain(internal_batch_size):
    model = Quadratic((1, 10, 12), num_classes=4)  # smooth, so that few steps are enough
    game = BandGame(model, X / 10, num_bands=3)
    ig, delta = IntegratedGradients(game).attribute(
        ONES,
        target=[0, 3, 1],
        additional_forward_args=INDEX,
        internal_batch_size=internal_batch_size,
        return_convergence_delta=True,
    )
    assert delta.abs().max() < 1e-6
    phi = SpectralShapley(model).attribute(X / 10, [0, 3, 1], num_bands=3, return_input_shape=False)
    torch.testing.assert_close(ig.sum(1), phi.sum(1), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:You are providing multiple inputs for Lime")
def test_a_linear_model_has_one_answer_for_every_method_in_band_space():
    weight = torch.randn(120, 5, dtype=torch.float64)
    model = nn.Linear(120, 5, dtype=torch.float64)
    model.weight.data = weight.T.contiguous()
    model = nn.Sequential(nn.Flatten(), model).eval()
    game = BandGame(model, X, num_bands=3)
    want = by_band(model)
    arguments = {"target": [0, 3, 1], "additional_forward_args": INDEX}
    results = {
        "IG": IntegratedGradients(game).attribute(ONES, **arguments),
        "Saliency": Saliency(game).attribute(ONES.clone().requires_grad_(), abs=False, **arguments),
        "NoiseTunnel": NoiseTunnel(IntegratedGradients(game)).attribute(
            ONES, nt_samples=3, stdevs=0.0, **arguments
        ),
        "GradientShap": GradientShap(game).attribute(
            ONES, baselines=torch.zeros(1, 3).double(), stdevs=0.0, n_samples=4, **arguments
        ),
        "KernelShap": KernelShap(game).attribute(ONES, n_samples=200, **arguments),
        "ShapleyValueSampling": ShapleyValueSampling(game).attribute(
            ONES, n_samples=2, perturbations_per_eval=3, **arguments
        ),
    }
    for name, result in results.items():
        torch.testing.assert_close(
            result.double(), want, rtol=1e-3, atol=1e-4, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_infidelity_in_band_space_is_nothing_for_an_additive_game():
    model = nn.Sequential(nn.Flatten(), nn.Linear(120, 5, dtype=torch.float64)).eval()
    game = BandGame(model, X, num_bands=3)

    def drop_bands(weights):
        kept = (torch.rand_like(weights) < 0.5).to(weights)
        return weights - kept * weights, kept * weights

    value = infidelity(
        game,
        drop_bands,
        ONES,
        by_band(model),
        additional_forward_args=INDEX,
        target=[0, 3, 1],
        n_perturb_samples=10,
    )
    assert value.abs().max() < 1e-12


def test_the_game_counts_rows_and_knows_examples():
    game = BandGame(tiny_cnn(1), X, num_bands=3)
    full, empty = tiny_cnn(1)(X), tiny_cnn(1)(torch.zeros_like(X))
    torch.testing.assert_close(game(ONES), full)
    torch.testing.assert_close(game(0 * ONES), empty)
    torch.testing.assert_close(game(ONES[:2], torch.tensor([2, 0])), full[[2, 0]])
    ends = game.evaluate(torch.tensor([[True] * 3, [False] * 3]))
    torch.testing.assert_close(ends, torch.stack([full, empty], 1))


def test_coalitions_shared_by_all_examples_or_each_its_own():
    game = BandGame(tiny_cnn(1), X, num_bands=3, target=[0, 3, 1])
    own = torch.rand(3, 6, 3) < 0.5
    values = game.evaluate(own)
    for e in range(3):
        torch.testing.assert_close(values[e], game.evaluate(own[e])[e])
    torch.testing.assert_close(values, game.evaluate(own, perturbations_per_eval=4))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda g: g(torch.ones(4, 3)), ValueError, r"4 rows .* 2 examples .*arange\(B\)"),
        (lambda g: g(torch.ones(2, 4)), ValueError, r"weights must be \(R, 3\), one column per b"),
        (lambda g: g(torch.ones(3)), ValueError, r"got shape \(3,\)"),
        (
            lambda g: g(torch.ones(2, 3), torch.tensor([0.0, 1.0])),
            TypeError,
            "integers .*float32",
        ),
        (lambda g: g(torch.ones(2, 3), [0, 1]), TypeError, "got list"),
        (lambda g: g(torch.ones(2, 3), torch.arange(3)), ValueError, r"\(2,\), got shape \(3,\)"),
        (lambda g: g(torch.ones(2, 3), torch.tensor([0, 2])), ValueError, r"0\.\.1, got 0\.\.2"),
        (lambda g: g(torch.ones(2, 3), torch.tensor([-1, 0])), ValueError, r"got -1\.\.0"),
        (lambda g: g.evaluate(torch.ones(2, 3)), TypeError, r"boolean.*game\(weights, examples\)"),
        (lambda g: g.evaluate(torch.ones(2, 4).bool()), ValueError, r"\(K, 3\) or \(2, K, 3\)"),
        (lambda g: g.evaluate(torch.ones(3, 5, 3).bool()), ValueError, r"got shape \(3, 5, 3\)"),
        (lambda g: g.evaluate(torch.ones(0, 3).bool()), ValueError, r"got shape \(0, 3\)"),
        (lambda g: g.evaluate(torch.ones(2, 3).bool(), 0), ValueError, "at least 1, got 0"),
    ],
)
def test_the_game_in_band_space(call, error, message):
    model = Counting(tiny_cnn(1))
    game = BandGame(model, X[:2], num_bands=3)
    with pytest.raises(error, match=message):
        call(game)
    assert model.calls == 0
