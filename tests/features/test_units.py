"""Bands in hertz, in mel, and per millimetre."""

import math
from fractions import Fraction

import pytest
import torch

from captum_spectral import SpectralShapley, band_frequencies, band_mask


def test_edges_in_hertz():
    mask = band_mask((400,), edges=[300, 3400], sample_rate=16000)
    hertz = torch.fft.fftfreq(400, 1 / 16000).abs()
    assert torch.equal(mask, (hertz >= 299.99).long() + (hertz >= 3399.99).long())
    assert band_frequencies(mask, sample_rate=16000).tolist() == [
        [0, 280],
        [320, 3360],
        [3400, 8000],
    ]


@pytest.mark.parametrize("length", [512, 801])
def test_mel_bands_are_equally_wide_in_mel(length):
    def mel(f):
        return 2595 * math.log10(1 + f / 700)

    rate, bands = 8000, 4
    mask = band_mask((length,), bands, spacing="mel", sample_rate=rate)
    for k in range(length // 2 + 1):
        width = mel(rate / 2) / bands
        assert mask[k] == min(int(mel(k * rate / length) / width + 1e-12), bands - 1)
    assert torch.equal(mask[1:], mask[1:].flip(0))


def test_anisotropic_voxels_have_spheres_in_millimetres():
    spacing = (1.5, 0.75, 0.75)  # mm
    rate = [1 / s for s in spacing]
    mask = band_mask((8, 10, 12), edges=[0.2, 0.5], norm="l2", sample_rate=rate)
    axes = [
        torch.fft.fftfreq(n, s, dtype=torch.float64)
        for n, s in zip((8, 10, 12), spacing, strict=True)
    ]
    radius = sum(a**2 for a in torch.meshgrid(*axes, indexing="ij")).sqrt()
    clear = ((radius - 0.2).abs() > 1e-6) & ((radius - 0.5).abs() > 1e-6)
    assert torch.equal(mask[clear], ((radius > 0.2).long() + (radius > 0.5).long())[clear])
    found = band_frequencies(
        band_mask((8, 10, 12), 2, sample_rate=rate), (0, 1, 2), sample_rate=rate
    )
    largest = torch.stack(torch.meshgrid(*[a.abs() for a in axes], indexing="ij")).amax(0)
    torch.testing.assert_close(found[1], torch.stack([found[1, 0], largest.max()]))
    assert found[0, 1] < 1 / 3 <= found[1, 0] + 1e-12  # half of the highest Nyquist frequency


def test_one_rate_does_not_change_the_bands():
    for shape in ((16,), (7, 12), (4, 5, 6)):
        assert torch.equal(band_mask(shape, 2, sample_rate=16000), band_mask(shape, 2))
        assert torch.equal(
            band_mask(shape, edges=[2], sample_rate=8), band_mask(shape, edges=[Fraction(1, 2)])
        )


def test_a_tone_is_in_the_band_of_its_hertz():
    seconds = torch.arange(800, dtype=torch.float64) / 8000
    tone = torch.sin(2 * torch.pi * 1000 * seconds)[None]
    mask = band_mask((800,), edges=[500, 900, 2000], sample_rate=8000)
    energy = SpectralShapley(lambda x: x.square().sum(1)).attribute(
        tone, feature_mask=mask, spectral_dims=-1, return_input_shape=False
    )
    torch.testing.assert_close(energy, torch.tensor([[0.0, 0.0, 400.0, 0.0]]).double())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"spacing": "mel"}, ValueError, "spacing='mel' is a scale of hertz; give sample_rate"),
        ({"sample_rate": 0}, ValueError, "sample_rate must be positive"),
        ({"sample_rate": [1, 2, 3]}, ValueError, "one number or one for each of 2 dims"),
        ({"sample_rate": "fast"}, TypeError, "a number such as 16000"),
        ({"sample_rate": float("nan")}, TypeError, "a number such as 16000"),
        (
            {"edges": [9000], "sample_rate": 16000},
            ValueError,
            r"leave band 1 without any freq.*none from 9000 on; Nyquist is sample_rate / 2 = 8000$",
        ),
        ({"edges": [300, 3400]}, ValueError, "from 3400 on; without sample_rate .* 1 is Nyquist"),
        ({"spacing": "bark"}, ValueError, "must be 'linear', 'octave' or 'mel', got 'bark'$"),
    ],
)
def test_units_that_make_no_sense(options, error, message):
    with pytest.raises(error, match=message):
        band_mask((8, 8), **options)
