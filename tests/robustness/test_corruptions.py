"""The eight corruptions against slow or independent ones."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import fft, ndimage, stats
from torchvision.transforms.v2 import functional

from captum_spectral import band_mask
from captum_spectral.robustness import _functions
from captum_spectral.robustness.corruptions import builtin_corruptions

LARGE = {c.name: c for c in builtin_corruptions("large")}
SMALL = {c.name: c for c in builtin_corruptions("small")}
EVERY = pytest.mark.parametrize("name", LARGE)


def pixels(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype)


# The table for luminance in Annex K of the JPEG standard, ITU-T T.81.
LUMINANCE = np.array([
    [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56], [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99],
])  # fmt: skip


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------ which ones


def test_severities_are_those_of_imagenet_c_and_cifar_10_c():
    assert {name: c.severities for name, c in LARGE.items()} == {
        "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
        "shot_noise": (60, 25, 12, 5, 3),
        "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
        "gaussian_blur": (1, 2, 3, 4, 6),
        "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
        "jpeg": (25, 18, 15, 10, 7),
        "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
        "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    }
    assert {name: c.severities for name, c in SMALL.items()} == {
        "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
        "shot_noise": (500, 250, 100, 75, 50),
        "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
        "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1),
        "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
        "jpeg": (80, 65, 58, 50, 40),
        "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
        "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
    }
    groups = [c.group for c in LARGE.values()]
    assert groups == ["noise"] * 3 + ["blur and digital"] * 3 + ["contrast and brightness"] * 2
    assert all(c.reproducible for c in (*LARGE.values(), *SMALL.values()))


@pytest.mark.parametrize(
    ("size", "scale"), [((64, 64), "large"), ((224, 63), "small"), ([28, 28], "small")]
)
def test_small_images_get_the_severities_for_small_ones(size, scale):
    assert builtin_corruptions(size) == builtin_corruptions(scale)


@EVERY
def test_corruptions_get_stronger(name):
    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(80.0), indexing="ij")
    image = (0.5 + 0.3 * torch.sin(rows / 5 + columns / 3)).expand(1, 3, -1, -1)
    for corruption in (LARGE[name], SMALL[name]):
        moved = [float((corruption(image, s) - image).norm()) for s in range(1, 6)]
        assert moved == sorted(moved)
        assert moved[0] > 0


# ------------------------------------------------------------------ noise


def test_gaussian_noise_is_normal_with_its_standard_deviation():
    x = pixels(1, 3, 80, 90)
    for sd in LARGE["gaussian_noise"].severities:
        noise = (_functions.gaussian_noise(x, sd, generator()) - x) / sd
        assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 0.01


def test_shot_noise_counts_photons():
    x = torch.full((1, 1, 200, 200), 0.3, dtype=torch.float64)
    for photons in LARGE["shot_noise"].severities:
        counts = _functions.shot_noise(x, photons, generator()).flatten() * photons
        torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-9)
        law = stats.poisson(0.3 * photons)
        values = np.arange(int(law.ppf(0.01)), int(law.ppf(0.99)) + 1)
        seen = np.array([(counts.round() == k).sum() for k in values])
        expected = law.pmf(values) * counts.numel()
        rest = counts.numel() - seen.sum(), counts.numel() - expected.sum()
        table = np.append(seen, rest[0]), np.append(expected, rest[1])
        assert stats.chisquare(*table).pvalue > 0.01


def test_shot_noise_has_the_brightness_as_its_mean_and_its_variance():
    x = (
        torch.linspace(0.05, 1, 20, dtype=torch.float64)
        .reshape(1, 1, 20, 1)
        .expand(-1, -1, -1, 4000)
    )
    made = _functions.shot_noise(x, 25, generator())[0, 0]
    level = x[0, 0, :, 0]
    error = (level / 25 / 4000).sqrt()
    assert ((made.mean(1) - level).abs() < 4 * error).all()
    # The variance of a variance of n Poisson counts of mean m is about (2 m^2 + m) / n.
    counts = 25 * level
    error = ((2 * counts**2 + counts) / 4000).sqrt() / 25**2
    assert ((made.var(1) - level / 25).abs() < 4 * error).all()


def test_impulse_noise_sets_a_share_of_the_values_to_black_and_white_half_each():
    x = 0.1 + 0.8 * pixels(1, 3, 100, 100)
    for share in LARGE["impulse_noise"].severities:
        made = _functions.impulse_noise(x, share, generator())
        for level in (0, 1):
            hit = int((made == level).sum())
            assert stats.binomtest(hit, x.numel(), share / 2).pvalue > 0.01
        kept = (made != 0) & (made != 1)
        assert torch.equal(made[kept], x[kept])


def test_impulse_noise_hits_channels_one_by_one():
    changed = _functions.impulse_noise(torch.full((1, 3, 200, 200), 0.5), 0.27, generator()) != 0.5
    alone = int((changed.sum(1) == 1).sum())
    assert stats.binomtest(alone, 200 * 200, 3 * 0.27 * 0.73**2).pvalue > 0.01


# ------------------------------------------------------------------ blur and digital


@pytest.mark.parametrize("shape", [(40, 51), (96, 64), (5, 3)])
def test_gaussian_blur_is_that_of_scipy(shape):
    x = pixels(2, 3, *shape)
    for sigma in (*LARGE["gaussian_blur"].severities, *SMALL["gaussian_blur"].severities):
        sd = (0, 0, sigma, sigma)
        reference = ndimage.gaussian_filter(x.numpy(), sd, mode="reflect", truncate=4.0)
        blurred = _functions.gaussian_blur(x, sigma, generator())
        np.testing.assert_allclose(blurred.numpy(), reference, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["gaussian_blur", "pixelate"])
@pytest.mark.parametrize("shape", [(70, 75), (45, 18), (3, 1)])
def test_blur_and_pixelate_keep_the_mean(name, shape):
    x = pixels(2, 3, *shape)
    for severity in (1, 2, 3, 4, 5):
        for corruption in (LARGE[name], SMALL[name]):
            torch.testing.assert_close(corruption(x, severity).mean((2, 3)), x.mean((2, 3)))


@pytest.mark.parametrize(
    ("shape", "corruptions"),
    # Sizes in which no centre lies on the edge of a cell, where Pillow follows rounding.
    [((224, 96), LARGE), ((32, 32), SMALL), ((28, 28), SMALL)],
)
def test_pixelate_is_the_box_filter_of_pillow_both_ways(shape, corruptions):
    height, width = shape
    x = pixels(1, 2, height, width, dtype=torch.float32)
    for severity, share in enumerate(corruptions["pixelate"].severities, start=1):
        made = corruptions["pixelate"](x, severity)
        for channel in range(2):
            down = int(width * share), int(height * share)
            image = Image.fromarray(x[0, channel].numpy())
            image = image.resize(down, Image.Resampling.BOX).resize(
                (width, height), Image.Resampling.BOX
            )
            np.testing.assert_allclose(made[0, channel].numpy(), np.asarray(image), atol=1e-6)


def test_pixels_become_the_mean_of_their_cell():
    x = pixels(1, 1, 6, 9)
    by_hand = torch.empty_like(x)
    # The centres of 6 rows in 3 cells, of 9 columns in 4: 2.25 columns a cell.
    for rows in ([0, 1], [2, 3], [4, 5]):
        for columns in ([0, 1], [2, 3], [4, 5, 6], [7, 8]):
            rows_, columns_ = torch.meshgrid(
                torch.tensor(rows), torch.tensor(columns), indexing="ij"
            )
            by_hand[0, 0, rows_, columns_] = x[0, 0, rows_, columns_].mean()
    made = _functions.pixelate(x, 0.5, generator())
    torch.testing.assert_close(made, by_hand)
    torch.testing.assert_close(_functions.pixelate(made, 0.5, generator()), made)


def test_grey_jpeg_is_quantised_cosines():
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(72.0), indexing="ij")
    levels = (127.5 + 60 * torch.sin(rows / 7) + 40 * torch.cos(columns / 3)).round().double()
    blocks = levels.reshape(8, 8, 9, 8).numpy() - 128
    for severity, quality in enumerate(LARGE["jpeg"].severities, start=1):
        # Below 50, libjpeg multiplies the table of the standard by 50 over the quality.
        steps = np.clip((LUMINANCE * (5000 // quality) + 50) // 100, 1, 255)[:, None]
        cosines = fft.dctn(blocks, axes=(1, 3), norm="ortho")
        cosines = np.round(cosines / steps) * steps
        slow = np.clip(128 + fft.idctn(cosines, axes=(1, 3), norm="ortho"), 0, 255)
        made = LARGE["jpeg"](levels[None, None] / 255, severity)[0, 0] * 255
        # Its transforms are in integers, so levels differ by rounding, and a cosine that is halfway
        # between two steps may go either way.
        difference = np.abs(made.numpy() - slow.reshape(64, 72))
        assert np.median(difference) < 0.6
        assert np.quantile(difference, 0.95) < 1.5


@pytest.mark.skipif(not hasattr(functional, "jpeg"), reason="torchvision has given it up")
@pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")
def test_jpeg_is_that_of_torchvision():
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(72.0), indexing="ij")
    waves = torch.stack([(rows / 7).sin(), (columns / 5).cos(), ((rows + columns) / 9).sin()])
    levels = (127.5 + 100 * waves).to(torch.uint8)[None]
    for severity, quality in enumerate(LARGE["jpeg"].severities, start=1):
        made = LARGE["jpeg"](levels.double() / 255, severity) * 255
        difference = (made - functional.jpeg(levels, quality)).abs()
        # Both bring a libjpeg of their own, whose releases may differ by a level or two.
        assert difference.max() <= 4
        assert difference.mean() < 0.2


def test_jpeg_rounds_to_the_nearest_level():
    levels = torch.randint(1, 255, (1, 3, 32, 32), generator=generator()).double()
    made = LARGE["jpeg"](levels / 255, 1)
    for off in (-0.4, 0.4):
        assert torch.equal(LARGE["jpeg"]((levels + off) / 255, 1), made)


def test_grey_jpeg_is_that_of_three_equal_channels():
    grey = pixels(2, 1, 64, 64)
    colour = LARGE["jpeg"](grey.expand(-1, 3, -1, -1), 4)
    torch.testing.assert_close(LARGE["jpeg"](grey, 4).expand(-1, 3, -1, -1), colour, rtol=0, atol=0)


def test_jpeg_of_other_channels_is_an_error():
    with pytest.raises(ValueError, match="jpeg takes images of 1 or 3 channels, got 4"):
        LARGE["jpeg"](pixels(1, 4, 64, 64), 1)


# ------------------------------------------------------------------ contrast and brightness


def test_contrast_is_flat_in_every_band():
    x = pixels(2, 3, 64, 66)
    mask = band_mask((64, 66), num_bands=8)
    for severity, c in enumerate(LARGE["contrast"].severities, start=1):
        change = torch.fft.fft2(LARGE["contrast"](x, severity) - x).abs() ** 2
        before = torch.fft.fft2(x).abs() ** 2
        assert float(change[..., 0, 0].max()) < 1e-18 * float(before[..., 0, 0].min())
        before[..., 0, 0] = 0
        for band in range(8):
            ratio = change[..., mask == band].sum() / before[..., mask == band].sum()
            torch.testing.assert_close(float(ratio), (1 - c) ** 2, rtol=1e-9, atol=0)


def test_contrast_keeps_the_mean_of_each_channel():
    x = pixels(2, 3, 64, 64)
    mean = x.mean((2, 3), keepdim=True)
    torch.testing.assert_close(LARGE["contrast"](x, 3), mean + 0.2 * (x - mean))


def test_brightness_is_added_and_clamped():
    x = pixels(2, 3, 64, 64)
    torch.testing.assert_close(LARGE["brightness"](x, 4), (x + 0.4).clamp(max=1))
