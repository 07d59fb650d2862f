"""Models that look at their input, that are no Modules as they were written, that fail or share."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from stems import ALL, ROWS, Own, Passed, X, agree, behind_the_stem, classified, known_of
from torch import nn

from captum_spectral import BandGame, SpectralShapley
from captum_spectral._engine import shortcuts, stem

pytestmark = pytest.mark.usefixtures("formats")


def looking(m, x):
    assert x.max() < 1e6
    return m.conv(x)


def changed_behind_a_view(m, x):
    y = m.conv(x)
    flat = y.flatten(2)
    y.relu_()
    return m.other(flat.unflatten(2, (12, 12)))


def changed_through_a_view(m, x):
    y = m.conv(x)
    y.view(len(x), -1).clamp_(min=0)
    return m.other(y)


def with_rows_in_a_shape(m, x):
    y = m.conv(x)
    return m.other(y.reshape(y.shape[0], -1).view(y.size(0), 3, 12, 12))


def doubled(x: torch.Tensor) -> torch.Tensor:
    return (x * 2).relu()


OWN = {
    "a residual from the input": (lambda m, x: m.conv(x) + x, False),
    "the input used twice": (lambda m, x: m.conv(x) + m.other(x), False),
    "the same layer twice on the input": (lambda m, x: m.conv(x).relu_() + m.conv(x), False),
    "a look at the input": (looking, False),
    "a function first": (lambda m, x: m.conv(x.relu()), False),
    "values as numbers": (
        lambda m, x: m.conv(x + 0 * float(x.detach().numpy()[0, 0, 0, 0])),
        False,
    ),
    "the mean of the batch": (lambda m, x: m.conv(x - 0 * x.mean(0)), False),
    "complex numbers": (lambda m, x: m.conv(torch.fft.ifft(torch.fft.fft(x)).real), False),
    "a script": (lambda m, x: m.conv(torch.jit.script(doubled)(x)), False),
    "gradients inside": (lambda m, x: with_gradient(m, x), False),
    "a view of what changes": (changed_behind_a_view, True),
    "a change through a view": (changed_through_a_view, True),
    "rows in a shape": (with_rows_in_a_shape, True),
    "two layers in a row": (lambda m, x: m.other(m.conv(x)), True),
    "a layer used again": (lambda m, x: m.conv(m.conv(x).relu()), True),
    "a constant made anew": (lambda m, x: m.conv(x * torch.tensor(2.0)), True),
    "inference mode inside": (lambda m, x: inferred(m, x), True),
    "a vectorised map": (lambda m, x: torch.vmap(lambda one: m.conv(one[None])[0])(x), False),
    "channels in another order": (lambda m, x: m.conv(x[:, [2, 1, 0]]), False),
    "rows in a list": (lambda m, x: m.conv(torch.stack(x.unbind())), False),
    "a matrix": (lambda m, x: m.conv(x @ m.conv.weight.new_ones(12, 12)), True),
    "a half of the rows' bytes": (lambda m, x: m.conv(x.double().float()), False),
}


@torch.inference_mode()
def inferred(m, x):
    return m.other(m.conv(x).relu_()).clone()


def with_gradient(m, x):
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(m.conv(leaf).square().sum(), leaf)
    return slope


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
@pytest.mark.parametrize(("forward", "holds"), OWN.values(), ids=OWN)
def test_whatever_a_model_does_with_its_input_its_values_are_the_same(forward, holds):
    model = Own(forward)
    agree(model)
    assert behind_the_stem(model) == holds


def test_batch_norm_in_training_mode_is_not_affine():
    model = Own(lambda m, x: m.conv(F.batch_norm(x, torch.zeros(3), torch.ones(3), training=True)))
    BandGame(model, X, 1, num_bands=4).evaluate(ALL)
    assert not behind_the_stem(model)


def hooked(model):
    model[0].register_forward_hook(lambda module, args, output: None)
    return model


def patched(model):
    model[0].forward = model[0].forward
    return model


REFUSED = {
    "a function": lambda model: lambda x: model(x),
    "hooks": hooked,
    "a forward function put in its place": patched,
    "a script": lambda model: torch.jit.script(model),
    "a trace": lambda model: torch.jit.trace(model, X, check_trace=False),
    "a graph": torch.fx.symbolic_trace,
    "a scripted part": lambda model: nn.Sequential(torch.jit.script(model), nn.Identity()).eval(),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_what_is_not_a_module_as_it_was_written_sees_every_row(make):
    model = make(classified(nn.Conv2d(3, 6, 3)))
    agree(model)
    assert known_of(model) is None


class WithMethod(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = classified(nn.Conv2d(3, 6, 3))
        self.eval()

    @torch.compile(backend="eager")
    def forward(self, x):
        return self.model(x)


class WithFunction(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = classified(nn.Conv2d(3, 6, 3))
        self.scale = torch.compile(lambda x: x * 2, backend="eager")
        self.eval()

    def forward(self, x):
        return self.model(self.scale(x))


COMPILED = {
    "a model": lambda: torch.compile(classified(nn.Conv2d(3, 6, 3)), backend="eager"),
    "a method": WithMethod,
    "a function": WithFunction,
    "a part": lambda: nn.Sequential(WithMethod(), nn.Identity()).eval(),
}


@pytest.mark.parametrize("create", COMPILED.values(), ids=COMPILED)
def test_compiled_models_see_every_row(create):
    model = create()
    game = BandGame(model, X, 1, num_bands=4)
    torch.testing.assert_close(game.evaluate(ALL), game.evaluate(ALL, 2))
    assert known_of(model) is None


def test_data_parallel_without_devices_is_its_module():
    model = nn.DataParallel(classified(nn.Conv2d(3, 6, 3))).eval()
    assert not model.device_ids
    agree(model)
    assert behind_the_stem(model)


def test_hooks_that_come_later_see_every_row():
    model, seen = classified(nn.Conv2d(3, 6, 3)), []
    game = BandGame(model, X, 1, num_bands=4)
    before = game.evaluate(ALL)
    model[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    torch.testing.assert_close(game.evaluate(ALL), before)
    assert sum(map(len, seen)) == 2 * ROWS
    assert all(type(rows) is torch.Tensor for rows in seen)


def test_other_weights_are_seen():
    model = classified(nn.Conv2d(3, 6, 3))
    game = BandGame(model, X, 1, num_bands=4)
    game.evaluate(ALL)
    with torch.no_grad():
        model[0].weight.mul_(3)
    torch.testing.assert_close(game.evaluate(ALL), game.evaluate(ALL, 1))


def test_a_number_of_perturbations_is_the_plain_way_to_the_last_bit():
    model = classified(nn.Conv2d(3, 6, 3))
    game = BandGame(model, X, 1, num_bands=4)
    plain = BandGame(lambda x: model(x), X, 1, num_bands=4)
    game.evaluate(ALL)
    with Passed() as passed:
        assert torch.equal(game.evaluate(ALL, 2), plain.evaluate(ALL, 2))
    assert set(passed.rows) == {4}
    assert torch.equal(game.evaluate(ALL, 2), game.evaluate(ALL, 2))


def test_nothing_is_left_at_a_model_also_by_an_exception():
    model = classified(nn.Conv2d(3, 6, 3))

    class Failing(nn.Module):
        left = 12

        def __init__(self):
            super().__init__()
            self.model = model
            self.eval()

        def forward(self, x):
            y = self.model[0](x)
            type(self).left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return self.model[1:](y)

    failing = Failing()
    before = {id(m): dict(vars(m)) for m in model.modules()}
    game = BandGame(failing, X, 1, num_bands=4)
    game.evaluate(ALL)
    Failing.left = 3
    with pytest.raises(KeyboardInterrupt):
        game.evaluate(ALL)
    torch.testing.assert_close(game.evaluate(ALL), game.evaluate(ALL, 1))
    assert {id(m): dict(vars(m)) for m in model.modules()} == before


def test_errors_of_a_model_are_its_own():
    class Wrong(nn.Module):
        def forward(self, x):
            raise LookupError("of the model")

    with pytest.raises(LookupError, match="of the model"):
        BandGame(Wrong().eval(), X, 1, num_bands=4).evaluate(ALL)


def test_a_model_that_needs_rows_channel_by_channel_gets_them(formats):
    class Viewing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.linear = nn.Conv2d(3, 6, 3), nn.Linear(600, 3)

        def forward(self, x):
            return self.linear(self.conv(x).relu().view(len(x), -1))

    model = Viewing().eval()
    agree(model)
    agree(model)
    if formats == "channels_last":
        assert known_of(model).formats.verdict is False


def test_rows_that_a_model_keeps_are_those_that_it_was_shown():
    kept = []

    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = classified(nn.Conv2d(3, 6, 3))
            self.eval()

        def forward(self, x):
            kept.append(x)
            return self.model(x)

    game = BandGame(Keeping(), X[:1], 1, num_bands=4)
    game.evaluate(ALL)
    kept.clear()
    game.evaluate(ALL)
    shown = torch.cat([rows.clone() for rows in kept])
    kept.clear()
    game.evaluate(ALL, 1)
    torch.testing.assert_close(shown, torch.cat(kept))


def test_one_number_per_batch_is_found_out():
    class Total(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = classified(nn.Conv2d(3, 6, 3))

        def forward(self, x):
            return self.model(x).sum()

    model = Total().eval()
    game = BandGame(model, X, num_bands=4)
    plain = BandGame(lambda x: model(x), X, num_bands=4)
    torch.testing.assert_close(game.evaluate(ALL), plain.evaluate(ALL))


def test_threads_share_a_model_and_what_is_known_of_it():
    model = classified(nn.Conv2d(3, 6, 3))
    known = SpectralShapley(copy.deepcopy(model)).attribute(X, 1, num_bands=4)
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(lambda _: SpectralShapley(model).attribute(X, 1, num_bands=4), range(16))
        for found in results:
            torch.testing.assert_close(found, known)
    assert behind_the_stem(model)


def test_another_thread_may_use_the_model_meanwhile():
    model, stop, wrong = classified(nn.Conv2d(3, 6, 3)), threading.Event(), []
    with torch.no_grad():
        known = model(X)

    def use():
        with torch.no_grad():
            while not stop.is_set():
                if not torch.equal(model(X), known):
                    wrong.append(True)

    thread = threading.Thread(target=use)
    thread.start()
    game = BandGame(model, X, 1, num_bands=4)
    for _ in range(5):
        game.evaluate(ALL)
    stop.set()
    thread.join()
    assert not wrong


def test_memory_that_runs_out_halves_the_rows_and_drops_the_stem():
    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = classified(nn.Conv2d(3, 6, 3))
            self.most, self.failures = 99, 0
            self.eval()

        def forward(self, x):
            y = self.model[0](x).relu()
            if len(y) > self.most:
                self.failures += 1
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
            return self.model[1:](y)

    model = Small()
    game = BandGame(model, X, 1, num_bands=4)
    plain = game.evaluate(ALL, 1)
    game.evaluate(ALL)
    model.most = 2
    torch.testing.assert_close(game.evaluate(ALL), plain)
    assert 1 <= model.failures <= 2


def test_a_stem_that_does_not_pay_is_left_after_one_chunk(monkeypatch):
    monkeypatch.setattr(stem, "WORTH", 0)
    model = classified(nn.Conv2d(3, 6, 3))
    agree(model)
    known = known_of(model)
    assert known.stem_holds
    assert len(known.costs) == 1  # it would be tried again with more rows per example
    with Passed() as passed:
        BandGame(model, X, 1, num_bands=4).evaluate(ALL)
    assert set(passed.rows) == {4}


@pytest.mark.parametrize("rows", [ROWS, 4])
def test_a_stem_is_for_many_more_rows_than_parts(rows):
    model = classified(nn.Conv2d(3, 6, 3))
    BandGame(model, X, 1, num_bands=4).evaluate(ALL[:rows])
    assert behind_the_stem(model) == (rows == ROWS)


def test_shortcuts_can_be_left_out():
    model = classified(nn.Conv2d(3, 6, 3))
    found = SpectralShapley(model).attribute(X, 1, num_bands=4, shortcuts=False)
    assert known_of(model) is None
    torch.testing.assert_close(SpectralShapley(model).attribute(X, 1, num_bands=4), found)
    assert behind_the_stem(model)


def test_small_inputs_are_shown_as_they_are(monkeypatch):
    monkeypatch.setattr(shortcuts, "SMALLEST", X[0].numel() + 1)
    model = classified(nn.Conv2d(3, 6, 3))
    agree(model)
    assert known_of(model) is None
