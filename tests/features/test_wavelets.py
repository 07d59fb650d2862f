"""Wavelets: levels and orientations."""

import sys

import pytest
import torch
from features_case import FeaturesCase, close, normal
from helpers import tiny_cnn
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_spectral import SpectralShapley
from captum_spectral.features import Wavelets
from captum_spectral.features.features import split
from captum_spectral.features.wavelets import _matrices


class TestHaar(FeaturesCase):
    def create(self):
        return Wavelets(levels=2)


class TestLevelsAlone(FeaturesCase):
    def create(self):
        return Wavelets(orientations=False)


class TestALongWavelet(FeaturesCase):
    def create(self):
        pytest.importorskip("pywt")
        return Wavelets("sym4")


def nested(found):
    """The arrays of ``pywt.wavedec2`` in nested rectangles."""
    whole = torch.from_numpy(found[0])
    for h, v, d in found[1:]:
        h, v, d = map(torch.from_numpy, (h, v, d))
        whole = torch.cat([torch.cat([whole, v], -1), torch.cat([h, d], -1)], -2)
    return whole


@pytest.mark.filterwarnings("ignore:Level value")  # all coefficients feel the edge
@pytest.mark.parametrize("wavelet", ["haar", "db2", "db4", "sym4", "coif2"])
def test_coefficients_of_even_sizes_are_those_of_pywavelets(wavelet):
    pywt = pytest.importorskip("pywt")
    x = normal((2, 3, 32, 48))
    found = pywt.wavedec2(x.numpy(), wavelet, mode="periodization", level=3, axes=(2, 3))
    member = Wavelets(wavelet, 3)
    close(member.transform(x), nested(found), atol=1e-11)
    ids = member.ids(x)[0, 0]
    labels = [torch.zeros(found[0].shape[2:])]
    labels += [
        tuple(torch.full(a.shape[2:], float(1 + 3 * k + i)) for i, a in enumerate(level))
        for k, level in enumerate(found[1:])
    ]
    expected = nested([labels[0].numpy(), *(tuple(a.numpy() for a in t) for t in labels[1:])])
    assert torch.equal(ids, expected.long())


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 24), st.integers(2, 24), st.sampled_from(["haar", "db2", "db7", "coif1"]))
def test_any_size_keeps_energies_comes_back_and_a_uniform_one_has_no_details(h, w, wavelet):
    pytest.importorskip("pywt")
    member, x = Wavelets(wavelet), normal((1, 1, h, w))
    coefficients = member.transform(x)
    close(coefficients.square().sum(), x.square().sum(), atol=1e-9)
    close(member.inverse(coefficients, x.shape), x, atol=1e-9)
    uniform = member.transform(torch.ones(1, 1, h, w, dtype=torch.float64))
    assert uniform[member.ids(x) > 0].abs().max() < 1e-9


@pytest.mark.parametrize("wavelet", ["haar", "db2", "sym8", "db10", "coif3"])
def test_odd_sizes_differ_from_periodic_filters_near_the_edge_alone(wavelet):
    pywt = pytest.importorskip("pywt")
    size, x = 301, normal((301,))
    (matrix,) = _matrices(Wavelets(wavelet)._filters, size, 1)
    close(matrix @ matrix.T, torch.eye(size).double(), atol=1e-10)
    low, high = map(torch.from_numpy, pywt.dwt(x.numpy(), wavelet, mode="periodization"))
    found = matrix @ x
    middle = slice(50, 100)
    close(found[:151][middle], low[middle], atol=1e-6)
    close(found[151:][middle].abs(), high[middle].abs(), atol=1e-6)


@pytest.mark.parametrize(("edges", "player"), [("horizontal", 4), ("vertical", 5)])
def test_edges_are_where_their_orientation_is(edges, player):
    x = (-1.0) ** torch.arange(16, dtype=torch.float64)  # a stripe for every pixel
    x = (x[:, None] if edges == "horizontal" else x[None]).expand(1, 1, 16, 16)
    member = Wavelets(levels=2)
    energy = split(member, x, member.ids(x), torch.arange(7)).square().flatten(2).sum(2)[0]
    close(energy[player], x.square().sum())
    checkers = x * x.mT
    energy = split(member, checkers, member.ids(x), torch.arange(7)).square().flatten(2).sum(2)[0]
    close(energy[6], checkers.square().sum())


def test_a_level_holds_about_its_octave():
    pytest.importorskip("pywt")
    member = Wavelets("sym8", 3, orientations=False)
    for octave, player in ((0.36, 3), (0.18, 2), (0.09, 1), (0.03, 0)):
        n = 64
        k = round(octave * n)
        x = torch.cos(2 * torch.pi * k * torch.arange(n).double() / n).expand(1, 1, n, n)
        energy = split(member, x, member.ids(x), torch.arange(4)).square().flatten(2).sum(2)[0]
        assert energy[player] > 0.9 * energy.sum()


def test_half_precision_and_shapley_values_of_a_small_image():
    x, model = normal((2, 3, 9, 7), dtype=torch.float32), tiny_cnn(dtype=torch.float32)
    member = Wavelets(levels=1)
    values = SpectralShapley(model).attribute(x, 1, features=member, return_input_shape=False)
    half = SpectralShapley(lambda x: model(x.float())).attribute(
        x.bfloat16(), 1, features=member, return_input_shape=False
    )
    torch.testing.assert_close(half, values, rtol=0.1, atol=0.02)
    painted = SpectralShapley(model).attribute(x, 1, features=member)
    close(painted[:, 0, -1, -1], values[:, 3])


def test_matrices_that_were_made_in_inference_mode_are_of_use_to_autograd():
    x, member = normal((1, 1, 11, 13)), Wavelets(levels=1)
    with torch.inference_mode():
        member.transform(x.clone())
    coefficients = member.transform(x).requires_grad_()
    member.inverse(coefficients, x.shape).square().sum().backward()
    close(coefficients.grad, 2 * coefficients.detach())


def test_a_default_fits_any_size_and_one_row_cannot_be_halved():
    assert int(Wavelets().ids(torch.rand(1, 1, 5, 9)).max()) == 9
    assert int(Wavelets().ids(torch.rand(1, 1, 3, 9)).max()) == 6
    assert int(Wavelets().ids(torch.rand(1, 1, 1, 9)).max()) == 0
    with pytest.raises(ValueError, match=r"levels=4 is more than an image of \(8, 9\).* levels=3"):
        Wavelets(levels=4).ids(torch.rand(1, 1, 8, 9))


def test_without_pywavelets_haar_works_and_others_say_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pywt", None)
    Wavelets("haar")
    with pytest.raises(ImportError, match=r'pip install "captum-spectral\[wavelets\]"'):
        Wavelets("sym4")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Wavelets(3), TypeError, "wavelet must be a name .* got 3"),
        (lambda: Wavelets("bior2.2"), ValueError, "must be an orthogonal one.* got 'bior2.2'"),
        (lambda: Wavelets("nosuch"), ValueError, "must be an orthogonal one.* got 'nosuch'"),
        (lambda: Wavelets(levels=0), ValueError, "levels must be at least 1"),
        (lambda: Wavelets().ids(torch.rand(2, 8)), ValueError, "touches dim 0"),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    if "orthogonal" in message:
        pytest.importorskip("pywt")
    with pytest.raises(error, match=message):
        make()
