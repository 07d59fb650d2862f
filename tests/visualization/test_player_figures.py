"""Figures of sectors, wavelets and tables: what is drawn where, and what is refused."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.path import Path

from captum_spectral.features import Sectors, Wavelets
from captum_spectral.visualization import visualize_sectors, visualize_table, visualize_wavelets

PHI = torch.tensor([2.0, -1.0, 0.5, 0.0, torch.nan, -0.25, 1.0, -2.0])


def sectors(values=PHI, geometry=None, **options):
    geometry = Sectors(2, 4).geometry((64, 64)) if geometry is None else geometry
    return visualize_sectors(values, geometry, use_pyplot=False, **options)


def wavelets(values=PHI[:7], **options):
    return visualize_wavelets(values, use_pyplot=False, **options)


def table(values=None, **options):
    values = PHI.reshape(2, 4) if values is None else values
    return visualize_table(values, use_pyplot=False, **options)


def bluer(colour):
    red, _, blue, *_ = colour
    return blue - red


@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
@pytest.mark.parametrize("centre", ["first", "disc"])
def test_every_frequency_is_in_the_wedge_of_its_sector(norm, centre):
    shape = (15, 21)  # no Nyquist bins, which lie on the edge
    member = Sectors(2, 4, norm=norm, centre=centre)
    mask, geometry = member.mask(shape), member.geometry(shape)
    _, axes = sectors(torch.arange(len(geometry)).double(), geometry, norm=norm)
    numbers = [0] * (centre == "disc")
    numbers += [n for n in range(len(numbers), len(geometry)) for _ in range(2)]
    paths = [Path(patch.get_xy()) for patch in axes.patches]
    assert len(paths) == len(numbers)
    found = 0
    f_y, f_x = (np.fft.fftfreq(n) for n in shape)
    for i, j in np.ndindex(*shape):
        if (i, j) == (0, 0):
            continue
        inside = {
            n
            for n, path in zip(numbers, paths, strict=True)
            # A hair away from arcs, which are drawn as chords.
            if path.contains_point((f_x[j] * 1.0005, f_y[i] * 1.0005), radius=0)
        }
        own = int(mask[i, j])
        assert own in inside or not inside  # on an edge it may be in none
        if inside:
            assert inside == {own}
            found += 1
    assert found > 0.9 * 15 * 21


def test_sectors_are_blue_above_zero_and_orange_below_and_hatched_when_unsure():
    errors = torch.full((8,), 0.3)
    _, axes = sectors(standard_error=errors)
    for n, value in enumerate(PHI.tolist()):
        for patch in axes.patches[2 * n : 2 * n + 2]:
            ground = to_rgb(axes.get_facecolor())
            if np.isnan(value) or value == 0:
                assert np.allclose(patch.get_facecolor()[:3], ground, atol=0.01)
            else:
                assert np.sign(bluer(patch.get_facecolor())) == np.sign(value)
            assert bool(patch.get_hatch()) == (abs(value) < 1.96 * 0.3)
    assert "hatched: within 1.96 standard errors of 0" in [t.get_text() for t in axes.texts]
    _, axes = sectors(standard_error=errors, num_standard_errors=0.1)
    assert [bool(p.get_hatch()) for p in axes.patches[::2]] == [v == 0 for v in PHI.tolist()]


def test_values_and_errors_are_written_and_a_missing_one_is_a_dash():
    _, axes = sectors(standard_error=torch.full((8,), 0.05))
    written = [t.get_text() for t in axes.texts if t.get_visible()]
    assert {"+2", "\N{MINUS SIGN}1", "0", "\N{EN DASH}", "± 0.05"} <= set(written)


def test_squares_of_wavelets_lie_where_their_coefficients_are():
    ids = Wavelets(levels=2).ids(torch.rand(1, 1, 16, 16))[0, 0]
    _, axes = wavelets(PHI[:7])
    for player, square in enumerate(axes.patches):
        x, y, size = (round(16 * v) for v in (*square.get_xy(), square.get_width()))
        assert (ids[y : y + size, x : x + size] == player).all()
        assert int((ids == player).sum()) == size**2
    names = [t.get_text() for t in axes.texts]
    assert names[-2:] == ["+1", "diagonal 1"]


def test_a_table_has_its_names_its_numbers_and_one_scale():
    _, axes = table(rows=["a", "b"], columns=list("wxyz"), standard_error=PHI.reshape(2, 4).abs())
    texts = [t.get_text() for t in axes.texts]
    assert {"a", "b", *"wxyz", "+2", "± 2", "\N{EN DASH}"} <= set(texts)
    assert "attribution (model output) ± standard error" in texts
    assert axes.get_images()[0].get_clim() == (-2, 2)


def test_letters_get_smaller_and_never_lose_a_sign():
    _, axes = table(torch.full((2, 30), -0.00123), fig_size=(9, 3))
    numbers = [t for t in axes.texts if "0.00123" in t.get_text()]
    assert len(numbers) == 60
    assert all(t.get_text() == "\N{MINUS SIGN}0.00123" for t in numbers)
    _, axes = table(torch.full((2, 60), -0.00123), fig_size=(5, 3))
    assert not any(t.get_visible() for t in axes.texts if "0.00123" in t.get_text())


@pytest.mark.parametrize("draw", [sectors, wavelets, table])
def test_bad_values_are_refused(draw):
    good = {sectors: PHI, wavelets: PHI[:7], table: PHI.reshape(2, 4)}[draw]
    with pytest.raises(ValueError, match="values must be finite, or NaN where there is none"):
        draw(good / 0)
    with pytest.raises(TypeError, match=r"values must be a torch.Tensor"):
        draw([1.0])
    with pytest.raises(ValueError, match="standard_error must be at least 0"):
        draw(good, standard_error=-torch.ones_like(good))
    with pytest.raises(ValueError, match=r"standard_error must be \(.*\) as values"):
        draw(good, standard_error=torch.ones_like(good)[1:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sectors(geometry=torch.zeros(7, 4)), r"geometry must be \(M, 4\).* each of the 8"),
        (lambda: sectors(geometry=torch.zeros(8, 4)), "geometry must hold a lowest radius"),
        (lambda: sectors(norm="l3"), "norm must be 'linf', 'l2' or 'l1', got 'l3'"),
        (lambda: sectors(num_standard_errors=0), "num_standard_errors must be positive, got 0"),
        (lambda: wavelets(PHI), r"values must be \(1 \+ 3 L,\).* got shape \(8,\)"),
        (lambda: table(rows=["a"]), "labels must have one name for each of the 2 rows"),
    ],
)
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
