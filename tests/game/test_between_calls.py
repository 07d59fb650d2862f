"""A game between two calls: inputs, models and modes that change, and threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from captum.attr import IntegratedGradients
from helpers import Counting, tiny_cnn
from torch import nn

from captum_spectral import BandGame, SpectralShapley
from captum_spectral._engine.chunk_size import AutomaticSize
from captum_spectral.coalitions import all_coalitions

X = torch.rand(3, 1, 12, 12, dtype=torch.float64)
ALL = all_coalitions(4)


class Interrupted(nn.Module):
    """Fails once, at a call."""

    def __init__(self, model, call=5):
        super().__init__()
        self.model, self.left = model, call
        self.eval()

    def forward(self, x):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self.model(x)


def interrupted(model=None, x=X, **arguments):
    game = BandGame(Interrupted(model or tiny_cnn(1)), x, 1, num_bands=4, **arguments)
    with pytest.raises(KeyboardInterrupt):
        game.evaluate(ALL, 1)
    return game


def expected(model=None, x=X, **arguments):
    return BandGame(model or tiny_cnn(1), x, 1, num_bands=4, **arguments).evaluate(ALL, 1)


@pytest.mark.parametrize("through", ["PyTorch", "NumPy"])
def test_inputs_and_baselines_that_change_in_place_do_not_reach_the_game(through):
    x, b = X.clone(), X.flip(0).clone()
    game = interrupted(x=x, baselines=b)
    for tensor in (x, b):
        if through == "NumPy":
            tensor.numpy()[:] = 0  # which no counter of PyTorch sees
        else:
            tensor.zero_()
    assert torch.equal(game.evaluate(ALL, 1), expected(baselines=X.flip(0)))


def test_weights_and_coalitions_see_the_same_inputs():
    x = X.clone()
    game = BandGame(tiny_cnn(1), x, 1, num_bands=4)
    before = game(torch.ones(3, 4))
    x.zero_()
    torch.testing.assert_close(game.evaluate(ALL)[:, -1], before.detach())


CHANGES = {
    "a weight": lambda model: model[0].weight.data.mul_(2),
    "an optimiser's step": lambda model: torch.optim.SGD(model.parameters(), 1.0).step(),
    "another parameter": lambda model: setattr(
        model[0], "bias", nn.Parameter(torch.ones(6).double())
    ),
    "a loaded state": lambda model: model.load_state_dict(tiny_cnn(1, seed=9).state_dict()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_model_that_changed_starts_over(change):
    model = tiny_cnn(1)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    game = interrupted(model)
    change(model)
    assert torch.equal(game.evaluate(ALL, 1), expected(model))


def test_other_autocast_starts_over():
    model = tiny_cnn(1).float()
    game = interrupted(model, X.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = game.evaluate(ALL, 1)
        assert torch.equal(found, expected(model, X.float()))


def test_what_is_unchanged_goes_on():
    counting = Counting(tiny_cnn(1))
    game = interrupted(counting)
    assert torch.equal(game.evaluate(ALL, 1), expected())
    assert counting.rows == 3 * 2**4


def test_coalitions_that_change_in_place_are_others():
    game = BandGame(Interrupted(tiny_cnn(1)), X, 1, num_bands=4)
    coalitions = ALL.clone()
    with pytest.raises(KeyboardInterrupt):
        game.values_of(coalitions, 1)
    coalitions.logical_not_()
    assert torch.equal(game.values_of(coalitions, 1), expected().flip(1))


def test_a_repaired_function_may_give_one_output_per_row():
    number = True

    def forward(x):
        value = x.flatten(1).sum(1)
        return value.sum() if number else value

    game = BandGame(forward, X, num_bands=4)
    assert game.evaluate(ALL).shape == (1, 16)
    number = False
    assert game.evaluate(ALL).shape == (3, 16)


def test_a_game_of_inference_mode_serves_outside_of_it():
    model = tiny_cnn(1)
    with torch.inference_mode():
        game = BandGame(model, X, [1, 0, 2], num_bands=4)
        game(torch.ones(3, 4))
        values = game.evaluate(ALL)
    values += 0  # of no inference tensor
    attributions = IntegratedGradients(game).attribute(
        torch.ones(3, 4), additional_forward_args=torch.arange(3), n_steps=8
    )
    assert attributions.isfinite().all()
    with torch.inference_mode():
        game = interrupted()
    assert torch.equal(game.evaluate(ALL, 1), expected())


def test_threads_that_share_a_game_get_the_values_of_one():
    game = BandGame(tiny_cnn(1), X, 1, num_bands=4)
    known = game.evaluate(ALL)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: game.evaluate(ALL), range(16)):
            torch.testing.assert_close(found, known)


def test_threads_that_share_a_model_share_what_is_known_of_its_speed():
    model, known = tiny_cnn(1), SpectralShapley(tiny_cnn(1)).attribute(X, 1, num_bands=4)
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(lambda _: SpectralShapley(model).attribute(X, 1, num_bands=4), range(16))
        for found in results:
            torch.testing.assert_close(found, known)


def test_the_automatic_size_holds_under_any_interleaving():
    size, failures = AutomaticSize(4), []

    def use(seed):
        generator = torch.Generator().manual_seed(seed)
        try:
            for _ in range(300):
                size.start_run()
                rows = size.rows(1000)
                if torch.rand(1, generator=generator) < 0.1:
                    size.too_large(rows)
                else:
                    size.took(rows, float(torch.rand(1, generator=generator)) + 0.1)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
