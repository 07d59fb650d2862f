"""Models that change what a stem was built of, or behave otherwise than the rows that were checked.

Also what a model keeps of its rows, and ways that worked and do so no more.
"""

import gc
import weakref

import pytest
import torch
from stems import ALL, Own, X, agree, behind_the_stem, classified, known_of
from torch import nn

from captum_spectral import BandGame
from captum_spectral._engine import chunk_size

pytestmark = pytest.mark.usefixtures("formats")

BUFFER = torch.zeros(())
ROOM = torch.zeros(64, 1, 1, 1)


def refilled(m, x):
    BUFFER.fill_(1.5)
    y = x * BUFFER
    BUFFER.fill_(0.5)
    return m.conv(y + x * BUFFER)


def refilled_behind_the_call(m, x):
    y = m.conv(x) * BUFFER.fill_(1.5)
    BUFFER.fill_(0.5)
    return y.tanh()


def one_scale_or_several(m, x):
    scales = [x] if type(x) is torch.Tensor else [one[None] for one in x]
    return sum(m.conv(scale) + scale for scale in scales)


def of_a_kind_where_not_empty(m, x):
    y = m.conv(x) - m.conv(torch.zeros_like(x[:1]))
    return y * (2 if type(y) is torch.Tensor else 3)


def with_room(m, x):
    room = torch.empty(len(x), 3, 12, 12)
    return m.conv(torch.add(x, 1, out=room)).relu() + room


def under_autocast(m, x):
    y = m.conv(100 * x) / 100
    with torch.autocast("cpu", torch.bfloat16):
        return y.tanh()


def where_graphs_are_made(m, x):
    y = m.conv(x)
    with torch.enable_grad():
        return y.tanh().detach()


def in_inference_mode(m, x):
    y = m.conv(x)
    with torch.inference_mode():
        z = y.tanh().clone()
    return z + y.tanh_()


CHANGING = {
    "a buffer that is filled twice": (refilled, False),
    "a buffer that is filled behind its use": (refilled_behind_the_call, True),
    "another way for other types": (one_scale_or_several, False),
    "another way for other types, but of zeros": (of_a_kind_where_not_empty, False),
    "room for a result": (with_room, False),
    "autocast inside": (under_autocast, True),
    "gradients behind the stem": (where_graphs_are_made, True),
    "inference mode behind the stem": (in_inference_mode, True),
    "an order by name": (lambda m, x: m.conv(x.permute(dims=(0, 1, 3, 2))), True),
}


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize(("forward", "holds"), CHANGING.values(), ids=CHANGING)
def test_what_changes_meanwhile_changes_no_value(forward, holds, rows, monkeypatch):
    monkeypatch.setattr(chunk_size, "LARGEST_GUESS", rows)
    model = Own(forward)
    agree(model)
    assert behind_the_stem(model) == holds


def test_a_buffer_that_holds_the_arguments_of_the_rows_is_read_anew(monkeypatch):
    def scaled(m, x, scale):
        ROOM[: len(x)] = scale.view(-1, 1, 1, 1)
        return m.conv(x) * ROOM[: len(x)]

    monkeypatch.setattr(chunk_size, "LARGEST_GUESS", 1)
    agree(Own(scaled), additional_forward_args=torch.tensor([1.0, 5.0]))


@pytest.mark.parametrize("mode", ["floor", "trunc"])
def test_rounding_is_not_affine_where_only_later_rows_show_it(mode):
    signs = (-1.0) ** torch.arange(12)
    x = 0.9 + 0.85 * (signs[:, None] * signs).expand(1, 3, 12, 12)
    agree(Own(lambda m, x: m.conv(torch.div(x, 1, rounding_mode=mode))), x)


def test_weights_of_another_kind_of_tensor_have_functions_of_their_own():
    class Rounding(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            args = [a.as_subclass(torch.Tensor) if isinstance(a, Rounding) else a for a in args]
            return func(args[0].round(decimals=1), *args[1:])

    weight = torch.rand(12, 12).as_subclass(Rounding)
    model = Own(lambda m, x: m.conv(nn.functional.linear(x, weight)))
    agree(model)
    assert not behind_the_stem(model)


def test_a_model_that_cannot_do_with_one_row_is_not_asked_to(formats):
    class Squeezing(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = classified(nn.Conv2d(3, 6, 3))
            self.eval()

        def forward(self, x):
            return self.model(x).squeeze()

    model = Squeezing()
    agree(model)
    assert not behind_the_stem(model)


class Changed(nn.Module):
    """Becomes a model that cannot do with rows in another format, or behind a stem."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Linear(600, 3)
        self.picky = False
        self.eval()

    def forward(self, x):
        if self.picky and type(x) is not torch.Tensor:
            raise TypeError("a tensor, please")
        y = self.conv(x).relu()
        return self.head(y.view(len(x), -1) if self.picky else y.flatten(1))


def test_a_model_that_can_no_longer_do_with_a_way_goes_the_plain_one():
    model = Changed()
    agree(model)
    assert behind_the_stem(model)
    model.picky = True
    agree(model)
    assert not behind_the_stem(model)


def test_errors_of_a_model_that_worked_before_are_its_own():
    model = Changed()
    agree(model)
    model.head = nn.Linear(7, 3)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        BandGame(model, X, 1, num_bands=4).evaluate(ALL)


@pytest.mark.parametrize("what", ["the input", "behind the stem", "a view"])
def test_rows_that_a_model_keeps_keep_no_parts_and_no_inputs(what):
    def keeping(m, x):
        y = m.conv(x)
        m.kept = {"the input": x, "behind the stem": y, "a view": x.flatten(1)}[what]
        return y

    model = Own(keeping)
    game = BandGame(model, X, 1, num_bands=4)
    for _ in range(2):
        values = game.evaluate(ALL)
    assert behind_the_stem(model)
    signals = weakref.ref(game.signals)
    del game
    gc.collect()
    assert signals() is None
    shown = model.kept.clone()
    torch.testing.assert_close(BandGame(model, X, 1, num_bands=4).evaluate(ALL, 1), values)
    torch.testing.assert_close(shown[-1:], model.kept[-1:])  # the last row of both


def test_memory_that_runs_out_for_rows_that_are_kept_loses_no_value(monkeypatch):
    from captum_spectral._engine import stem

    def keeping(m, x):
        m.kept = x
        return m.conv(x)

    def full(self, *_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    model = Own(keeping)
    game = BandGame(model, X, 1, num_bands=4)
    values = game.evaluate(ALL)
    settle = stem.Stem.settle

    def short(self):
        with monkeypatch.context() as patch:
            patch.setattr(stem._Layers, "made", full)
            settle(self)

    monkeypatch.setattr(stem.Stem, "settle", short)
    torch.testing.assert_close(game.evaluate(ALL), values)
    assert model.kept.shape == X[:1].expand(len(model.kept), -1, -1, -1).shape
    assert known_of(model).stem_holds
    assert model.kept.isfinite().all()  # made when somebody looks


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 6), nn.BatchNorm2d(6)])
def test_group_norms_on_the_cpu_are_shown_rows_in_the_format_of_the_inputs(norm):
    # In channels_last PyTorch's group norm of nearly constant signals has no right digit.
    model = classified(nn.Conv2d(3, 6, 3), norm)
    with torch.no_grad():
        model[0].weight.mul_(0.02)
        model[0].bias.fill_(10)
    agree(model, tolerance=1e-3)
    assert (known_of(model).formats is None) == isinstance(norm, nn.GroupNorm)
