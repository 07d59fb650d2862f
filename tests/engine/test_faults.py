"""Memory that runs out, forwards that fail, runs that are interrupted: nothing lost or wrong."""

import gc

import pytest
import torch
from faulty import Faulty, cuda_allocation_failure, real_allocation_failure
from helpers import Counting, tiny_cnn
from torch import nn

from captum_spectral import BandGame, SpectralShapley
from captum_spectral._engine import signals
from captum_spectral.coalitions import all_coalitions

X = torch.rand(3, 3, 12, 10, dtype=torch.float64)
TARGET = [0, 3, 1]
PER_EVAL = [None, 1, 2, 5, 16]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Signals are made for few rows at a time, as they are for photographs."""
    monkeypatch.setattr(gc, "collect", int)  # takes long in the heap of a test run
    monkeypatch.setattr(signals, "BLOCK_BYTES", 8 * X[0].numel() * 8)


def explain(model, per_eval=None, **arguments):
    return SpectralShapley(model).attribute(
        X,
        arguments.pop("target", TARGET),
        num_bands=4,
        perturbations_per_eval=per_eval,
        return_input_shape=False,
        **arguments,
    )


def same(result, expected):
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-14)


# ---------------------------------------------------------------------- memory runs out


@pytest.mark.parametrize("fault", [real_allocation_failure, cuda_allocation_failure])
@pytest.mark.parametrize("per_eval", PER_EVAL)
@pytest.mark.parametrize("k", [2, 3, 5, 11])
def test_an_allocation_failure_at_every_kth_call_changes_nothing(k, per_eval, fault):
    model = tiny_cnn()
    faulty = Faulty(model, lambda call, rows: call % k == 0, fault)
    same(explain(faulty, per_eval), explain(model))
    assert faulty.rows == 3 * 2**4  # nothing that was computed is computed again


@pytest.mark.parametrize("per_eval", PER_EVAL)
@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_rows_that_do_not_fit_are_halved_until_they_do(limit, per_eval):
    model = tiny_cnn()
    faulty = Faulty(model, lambda call, rows: rows > limit, real_allocation_failure)
    same(explain(faulty, per_eval), explain(model))
    assert faulty.rows == 3 * 2**4
    assert faulty.calls <= 3 * 2**4 / max(1, limit // 2) + 10  # and not much further than that


def test_coalitions_of_each_example_targets_and_arguments_survive_the_halving():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = tiny_cnn()
            self.eval()

        def forward(self, x, shift):
            return self.model(x) + shift[:, None]

    model, shift = Shifted(), torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)
    own = torch.rand(3, 9, 4) < 0.5
    faulty = Faulty(model, lambda call, rows: rows > 2, real_allocation_failure)
    arguments = {"target": TARGET, "additional_forward_args": shift, "num_bands": 4}
    for per_eval in PER_EVAL:
        values = BandGame(faulty, X, **arguments).evaluate(own, per_eval)
        same(values, BandGame(model, X, **arguments).evaluate(own))


def test_bands_that_do_not_fit_are_made_of_fewer_examples(monkeypatch):
    from captum_spectral._engine.signals import Signals

    split, model = Signals.split, tiny_cnn()

    def limited(self, examples):
        if examples.stop - examples.start > 1:
            real_allocation_failure()
        return split(self, examples)

    expected = explain(model)
    monkeypatch.setattr(Signals, "split", limited)
    for per_eval in PER_EVAL:
        same(explain(model, per_eval), expected)


@pytest.mark.parametrize("per_eval", [None, 1, 4])
def test_a_single_row_that_does_not_fit_is_an_error_that_says_how_much(per_eval):
    faulty = Faulty(tiny_cnn(), lambda call, rows: True, cuda_allocation_failure)
    with pytest.raises(
        torch.OutOfMemoryError,
        match=r"not even one row at a time does fit in the memory of cpu: signals of shape "
        r"\(1, 3, 12, 10\) \(0.0 MiB\).*Tried to allocate 2.00 GiB",
    ):
        explain(faulty, per_eval)
    assert faulty.calls < 12


def test_one_number_for_a_batch_that_does_not_fit_is_an_error():
    for per_eval in (None, 1):
        faulty = Faulty(lambda x: x.sum(), lambda call, rows: rows > 2, real_allocation_failure)
        with pytest.raises(
            torch.OutOfMemoryError, match="one number for the batch, so its 3 rows must share"
        ):
            explain(faulty, per_eval, target=None)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize("per_eval", [None, 1])
def test_one_number_for_a_batch_may_fail_for_a_moment(shape, per_eval):
    def total(x):
        return x.tanh().sum().reshape(shape)

    expected = explain(total, target=None)
    assert len(expected) == 1
    for failing in (1, 2, 9):
        faulty = Faulty(total, lambda call, rows, n=failing: call == n, real_allocation_failure)
        same(explain(faulty, per_eval, target=None), expected)


def test_an_output_for_the_batch_after_outputs_per_row_is_an_error():
    calls = []

    def fickle(x):
        calls.append(len(x))
        return x.flatten(1).sum(1) if len(calls) < 3 else x.sum()[None]

    with pytest.raises(ValueError, match=r"returned shape \(1,\) for 3 rows"):
        explain(fickle, 1, target=None)


def test_the_memory_of_a_run_does_not_grow_with_the_coalitions(monkeypatch):
    from captum_spectral._engine.signals import Buffer, Signals

    asked, room = [], Buffer.rows
    monkeypatch.setattr(Buffer, "rows", lambda self, n, *a: asked.append(n) or room(self, n, *a))
    examples, split = [], Signals.split
    monkeypatch.setattr(
        Signals, "split", lambda self, e: examples.append(e.stop - e.start) or split(self, e)
    )
    x = torch.rand(3, 3, 24, 20)
    peaks = {}
    for num_bands in (4, 8):
        asked.clear()
        examples.clear()
        model = Counting(tiny_cnn(dtype=torch.float32))
        SpectralShapley(model).attribute(x[:1], 0, num_bands=num_bands, perturbations_per_eval=8)
        assert model.rows == 2**num_bands
        peaks[num_bands] = max(asked), max(examples)
    assert peaks[8] == peaks[4]


def test_a_table_of_values_that_does_not_fit_says_so():
    class Wide(nn.Module):
        def forward(self, x):
            return x[:, 0, 0, :1].expand(len(x), 2**50)  # a view: the table would be memory

    with pytest.raises(
        torch.OutOfMemoryError,
        match=r"the table of values \(3, 16, 1125899906842624\) does not fit .* choose a target",
    ):
        explain(Wide().eval(), target=None)


# ---------------------------------------------------------------------- a forward fails


def broken():
    raise ConnectionError("the model server is gone")


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("fault", [broken, interrupt])
@pytest.mark.parametrize("per_eval", PER_EVAL)
def test_a_forward_that_raises_once_raises_and_the_game_goes_on_where_it_was(per_eval, fault):
    model, coalitions = tiny_cnn(), all_coalitions(4)
    faulty = Faulty(model, lambda call, rows: call == 2, fault)
    game = BandGame(faulty, X, target=TARGET, num_bands=4)
    if per_eval == 16 or per_eval is None:  # all in one call: let the first fail
        faulty.calls = 1
    with pytest.raises((ConnectionError, KeyboardInterrupt)):
        game.evaluate(coalitions, per_eval)
    values = game.evaluate(coalitions, per_eval)
    assert faulty.rows == 3 * 2**4
    same(values, BandGame(model, X, target=TARGET, num_bands=4).evaluate(coalitions))
    game.evaluate(coalitions, per_eval)  # done is done: a further call is a new one
    assert faulty.rows == 2 * 3 * 2**4


def test_other_coalitions_do_not_go_on_from_an_interrupted_run():
    model, coalitions = tiny_cnn(), all_coalitions(4)
    faulty = Faulty(model, lambda call, rows: call == 2, broken)
    game = BandGame(faulty, X, target=TARGET, num_bands=4)
    with pytest.raises(ConnectionError):
        game.evaluate(coalitions, 2)
    expected = BandGame(model, X, target=TARGET, num_bands=4).evaluate(coalitions.flip(0))
    same(game.evaluate(coalitions.flip(0), 2), expected)


def test_a_model_that_changes_its_input_in_place_and_fails_does_not_spoil_the_rest():
    class InPlace(nn.Module):
        def __init__(self, fails):
            super().__init__()
            self.model, self.fails, self.calls = tiny_cnn(), fails, 0
            self.eval()

        def forward(self, x):
            self.calls += 1
            x.mul_(2)
            if self.fails and self.calls == 2:
                real_allocation_failure()
            return self.model(x)

    same(explain(InPlace(fails=True), 2), explain(InPlace(fails=False), 2))


def test_a_model_may_keep_the_rows_it_is_given():
    kept = []
    model = tiny_cnn()

    def keeping(x):
        kept.append(x)
        return model(x)

    game = BandGame(keeping, X, target=TARGET, num_bands=4)
    values = game.evaluate(all_coalitions(4))
    rows = torch.cat(kept)
    assert len(rows) == 3 * 2**4
    with torch.no_grad():
        again = model(rows).view(3, 16, -1)
    same(torch.stack([again[e, :, t] for e, t in enumerate(TARGET)]), values)


# ---------------------------------------------------------------------- rows


@pytest.mark.parametrize("per_eval", PER_EVAL)
def test_no_row_too_many(per_eval):
    counting = Counting(tiny_cnn())
    explain(counting, per_eval)
    assert counting.rows == 3 * 2**4
    if per_eval is not None:
        assert max(shape[0] for shape in counting.shapes) <= 3 * per_eval
    counting.rows = 0
    explain(counting, per_eval, n_samples=2, generator=torch.Generator().manual_seed(0))
    assert counting.rows <= 3 * (2 * 2 * (4 - 1) + 2)


def test_examples_and_coalitions_mix_freely_in_a_chunk(monkeypatch):
    from captum_spectral._engine import chunk_size

    monkeypatch.setattr(chunk_size, "LARGEST_GUESS", 32)  # three examples of 16 rows: 32 and 16
    counting = Counting(tiny_cnn())
    expected = explain(tiny_cnn(), 16)
    same(explain(counting), expected)
    assert [shape[0] for shape in counting.shapes] == [32, 16]
