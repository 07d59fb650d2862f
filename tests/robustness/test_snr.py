"""Spectral signal-to-noise ratios against closed forms and a slow implementation in NumPy."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torchvision.transforms.v2.functional import center_crop, gaussian_blur, pil_to_tensor

from captum_spectral import band_mask, split_bands
from captum_spectral.robustness.radial import fit_power_law, ring_mask
from captum_spectral.robustness.snr import SpectralSNRMetric, spectral_snr
from captum_spectral.sources.pictures import shipped_photographs

SIZES = [(16, 16), (15, 20), (9, 7)]
sizes = pytest.mark.parametrize("size", SIZES, ids=str)


def photographs_of_noise(count, size, channels=2, seed=0, dtype=torch.float64):
    """Images whose amplitude falls with frequency, around a grey of their own."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, channels, *size, generator=generator, dtype=torch.float64)
    down, across = (torch.fft.fftfreq(n, dtype=torch.float64) for n in size)
    radius = torch.hypot(down[:, None], across).clamp(min=1 / max(size))
    x = torch.fft.ifft2(torch.fft.fft2(noise) / radius).real
    return (0.5 + 0.1 * x / x.std()).to(dtype)


def noise_like(x, sigma=0.1, seed=1):
    return sigma * torch.randn(
        x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype
    )


def contrast(c):
    def perturb(x):
        mean = x.mean((2, 3), keepdim=True)
        return mean + c * (x - mean)

    return perturb


def slow_energies(images, num_bands, dc):
    """Energy of every band, by a walk over the plane: (N, M)."""
    count, _, height, width = images.shape
    found = np.zeros((count, num_bands))
    power = (np.abs(np.fft.fft2(images.numpy())) ** 2).sum(1)
    for k_y in range(height):
        for k_x in range(width):
            signed = (min(k_y, height - k_y), min(k_x, width - k_x))
            if signed == (0, 0) and dc == "drop":
                continue
            # In twelfths of integers: no radius is on the wrong side of an edge by rounding.
            radius = max(2 * signed[0] * width, 2 * signed[1] * height)  # over H W
            band = min(radius * num_bands // (height * width), num_bands - 1)
            found[:, band] += power[:, k_y, k_x]
    return found


@sizes
@pytest.mark.parametrize("dc", ["drop", "keep"])
def test_every_number_is_that_of_a_slow_implementation(size, dc):
    x = photographs_of_noise(5, size)
    y = x + noise_like(x)
    snr = spectral_snr(x, y, num_bands=3, dc=dc)
    signal, noise = (slow_energies(t, 3, dc) for t in (x, y - x))
    ratio = signal / noise
    decibel = 10 * np.log10(ratio)
    expected = {
        "decibel": decibel.mean(0),
        "standard_error": decibel.std(0, ddof=1) / math.sqrt(5),
        "mean_ratio": ratio.mean(0),
        "pooled_decibel": 10 * np.log10(signal.sum(0) / noise.sum(0)),
    }
    a, b = signal.mean(0), noise.mean(0)
    both = [np.cov(signal[:, i], noise[:, i]) for i in range(3)]
    spread = [
        c[0, 0] / a[i] ** 2 + c[1, 1] / b[i] ** 2 - 2 * c[0, 1] / a[i] / b[i]
        for i, c in enumerate(both)
    ]
    expected["pooled_standard_error"] = 10 / math.log(10) * np.sqrt(np.array(spread) / 5)
    for name, numbers in expected.items():
        np.testing.assert_allclose(getattr(snr, name).numpy(), numbers, rtol=1e-9, err_msg=name)
    assert snr.num_images == 5
    assert snr.num_unchanged.tolist() == snr.num_silent.tolist() == [0, 0, 0]


@sizes
def test_rings_are_those_of_a_slow_implementation(size):
    x = photographs_of_noise(3, size)
    y = x + noise_like(x)
    height, width = size
    power = [(np.abs(np.fft.fft2(t.numpy())) ** 2).sum((0, 1)) for t in (x, y - x)]
    rings = {}
    for k_y in range(height):
        for k_x in range(width):
            f = math.hypot(min(k_y, height - k_y) / height, min(k_x, width - k_x) / width)
            ring = rings.setdefault(math.floor(f * min(size) + 0.5 + 1e-9), np.zeros(2))
            ring += [p[k_y, k_x] for p in power]
    radial = spectral_snr(x, y).radial
    numbers = sorted(set(rings) - {0})
    assert radial.frequencies.tolist() == [q / min(size) for q in numbers]
    expected = [10 * math.log10(rings[q][0] / rings[q][1]) for q in numbers]
    np.testing.assert_allclose(radial.decibel.numpy(), expected, rtol=1e-9)
    assert radial.is_corner.tolist() == [q / min(size) > 0.5 for q in numbers]


def test_white_noise_has_the_ratio_of_its_closed_form():
    x = photographs_of_noise(40, (32, 32), channels=3)
    sigma, num_bands = 0.2, 8
    snr = spectral_snr(x, x + noise_like(x, sigma), num_bands=num_bands)
    energy = torch.fft.fft2(x).abs().square().sum((0, 1))
    mask = band_mask((32, 32), num_bands)
    for band in range(num_bands):
        places = mask == band
        places[0, 0] = False
        count = int(places.sum())
        mean = 40 * 3 * 32 * 32 * sigma**2 * count
        expected = 10 * math.log10(float(energy[places].sum()) / mean)
        # Of so many squared numbers, k and -k being one complex number or real ones.
        deviation = 10 / math.log(10) * math.sqrt(2 / (40 * 3 * count))
        assert abs(float(snr.pooled_decibel[band]) - expected) < 4 * deviation


@pytest.mark.parametrize("c", [0.4, 0.05])
@sizes
def test_contrast_is_flat_in_every_band_without_any_error(size, c):
    x = photographs_of_noise(4, size)
    snr = spectral_snr(x, contrast(c), num_bands=3)
    expected = torch.full((3,), -20 * math.log10(1 - c), dtype=torch.float64)
    for name in ("decibel", "pooled_decibel"):
        torch.testing.assert_close(getattr(snr, name), expected, rtol=0, atol=1e-9)
    assert snr.standard_error.max() < 1e-9
    assert snr.pooled_standard_error.max() < 1e-9
    torch.testing.assert_close(snr.radial.decibel, expected[:1].expand(len(snr.ring_frequencies)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_identity_is_unchanged_everywhere(dtype):
    x = photographs_of_noise(4, (15, 20), dtype=dtype)
    for y in (x, x * (1 + torch.finfo(dtype).eps)):  # rounded anew
        snr = spectral_snr(x, y, num_bands=4)
        assert snr.num_unchanged.tolist() == [4] * 4
        assert snr.decibel.isnan().all()
        assert snr.mean_ratio.isnan().all()
        assert (snr.pooled_decibel == torch.inf).all()
    fit = snr.fit_power_law()
    assert math.isnan(fit.exponent)
    assert fit.num_rings == 0


def test_a_low_pass_changes_nothing_below_its_edge_and_loses_all_above():
    x = photographs_of_noise(3, (16, 20))
    mask = band_mask((16, 20), 4)
    lowest = split_bands(x, mask)[:, :2].sum(1)
    snr = spectral_snr(x, lowest, mask)
    assert snr.num_unchanged.tolist() == [3, 3, 0, 0]
    torch.testing.assert_close(snr.decibel[2:], torch.zeros(2).double(), rtol=0, atol=1e-9)
    assert snr.decibel[:2].isnan().all()


def test_an_image_without_a_signal_in_a_band_is_counted_and_left_out_of_the_means():
    x = photographs_of_noise(3, (16, 16))
    x[1] = 0.5
    y = x + noise_like(x)
    snr, others = spectral_snr(x, y, num_bands=2), spectral_snr(x[::2], y[::2], num_bands=2)
    assert snr.num_silent.tolist() == [1, 1]
    assert torch.equal(snr.decibel, others.decibel)
    assert torch.equal(snr.standard_error, others.standard_error)
    assert torch.equal(snr.mean_ratio, others.mean_ratio)
    assert (snr.pooled_decibel < others.pooled_decibel).all()


@sizes
def test_bands_and_the_mean_hold_all_energy(size):
    x = photographs_of_noise(2, size)
    y = x + noise_like(x)
    metric = SpectralSNRMetric(num_bands=3, dc="row")
    metric.update(x, y)
    record = metric.records[0].unflatten(0, (2, -1))
    signal, noise = record[:, 2:10].unflatten(1, (2, 4)).sum(-1).unbind(1)
    for energy, values in ((signal, x), (noise, y - x)):
        expected = math.prod(size) * values.square().sum((1, 2, 3))
        torch.testing.assert_close(energy, expected, rtol=1e-12, atol=0)


@sizes
def test_scaling_images_and_perturbation_alike_changes_nothing(size):
    x = photographs_of_noise(3, size)
    y = x + noise_like(x)
    once, again = (spectral_snr(c * x, c * y, num_bands=3) for c in (1, 255))
    torch.testing.assert_close(once.decibel, again.decibel, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(once.pooled_decibel, again.pooled_decibel, rtol=1e-12, atol=1e-12)


@sizes
def test_every_frequency_shares_its_ring_with_its_negative(size):
    rings = ring_mask(*size)
    assert torch.equal(rings, rings.flip(0, 1).roll((1, 1), (0, 1)))
    assert rings[0, 0] == 0


def test_the_mean_of_the_channels_is_a_row_of_its_own_or_left_out():
    x = photographs_of_noise(4, (16, 16))
    y = x + noise_like(x) + 0.2
    drop, row, keep = (spectral_snr(x, y, num_bands=4, dc=dc) for dc in ("drop", "row", "keep"))
    torch.testing.assert_close(row.decibel[1:], drop.decibel)
    mean, change = x.mean((2, 3)), (y - x).mean((2, 3))
    expected = 10 * (mean.square().sum(1) / change.square().sum(1)).log10().mean()
    torch.testing.assert_close(row.decibel[0], expected)
    assert row.frequencies[0].tolist() == [0, 0]
    torch.testing.assert_close(keep.decibel[1:], drop.decibel[1:])
    assert keep.decibel[0] != drop.decibel[0]


def test_images_of_amplitude_1_over_f_under_white_noise_have_exponent_2():
    side = 64
    radius = ring_mask(side, side).clamp(min=1)  # the same all along a ring
    phase = torch.fft.fft2(noise_like(torch.zeros(60, 1, side, side).double()))
    x = torch.fft.ifft2(phase / phase.abs() / radius).real
    fit = spectral_snr(x, x + noise_like(x, 0.5, seed=3)).fit_power_law()
    assert fit.exponent == pytest.approx(2, abs=0.05)
    assert fit.low < 2 < fit.high
    assert fit.r_squared > 0.99 > fit.exponential_r_squared


# The exponents are those that an independent prototype found over 142 photographs of 224 pixels.
@pytest.mark.parametrize(
    ("perturb", "size", "exponent"),
    [
        (lambda x: x + noise_like(x, 0.2), 112, 2.35),
        (lambda x: gaussian_blur(x, [9, 9], [1.0, 1.0]), 224, 2.97),
    ],
    ids=["white noise", "blur"],
)
def test_photographs_have_the_exponents_of_another_implementation(perturb, size, exponent):
    pictures = shipped_photographs()
    some = [pictures.load(i) for i in range(0, len(pictures), 6)]
    x = torch.stack([center_crop(pil_to_tensor(image), [size, size]) / 255 for image in some])
    fit = spectral_snr(x, perturb).fit_power_law(200)
    assert fit.low < exponent < fit.high
    assert fit.high - fit.low < 0.5
    assert fit.r_squared > max(0.95, fit.exponential_r_squared)


def test_the_fit_is_that_of_least_squares_and_its_interval_that_of_percentiles():
    x = photographs_of_noise(6, (24, 24))
    snr = spectral_snr(x, x + noise_like(x))
    f, powers = snr.ring_frequencies.numpy(), snr.ring_powers.numpy()
    kept = (f > 1.5 / 24) & (f <= 0.5)

    def line(signal, noise, x):
        y = np.log10(signal[kept] / noise[kept])
        slope, intercept = np.polyfit(x[kept], y, 1)
        left = ((y - slope * x[kept] - intercept) ** 2).sum()
        return slope, 1 - left / ((y - y.mean()) ** 2).sum()

    fit = snr.fit_power_law(num_resamples=400, seed=5)
    slope, r_squared = line(*powers.sum(0), np.log10(f))
    assert fit.exponent == pytest.approx(-slope, rel=1e-9)
    assert fit.r_squared == pytest.approx(r_squared, rel=1e-9)
    assert fit.exponential_r_squared == pytest.approx(line(*powers.sum(0), f)[1], rel=1e-9)
    assert fit.num_rings == kept.sum()
    draw = np.random.default_rng(0)
    redrawn = [-line(*powers[draw.integers(6, size=6)].sum(0), np.log10(f))[0] for _ in range(400)]
    width = fit.high - fit.low
    for mine, theirs in zip((fit.low, fit.high), np.quantile(redrawn, [0.025, 0.975]), strict=True):
        assert abs(mine - theirs) < 0.3 * width
    assert fit == snr.fit_power_law(num_resamples=400, seed=5)
    assert fit != snr.fit_power_law(num_resamples=400, seed=6)


def test_one_image_has_no_errors_and_no_interval():
    x = photographs_of_noise(1, (16, 16))
    snr = spectral_snr(x, x + noise_like(x))
    assert snr.standard_error.isnan().all()
    assert snr.pooled_standard_error.isnan().all()
    fit = snr.fit_power_law()
    assert math.isfinite(fit.exponent)
    assert math.isnan(fit.low)


def same(a, b):
    return all(
        torch.equal(x.nan_to_num(), y.nan_to_num()) if isinstance(x, torch.Tensor) else x == y
        for x, y in ((vars(a)[name], vars(b)[name]) for name in vars(a))
    )


def test_neither_batches_nor_the_order_of_images_change_a_bit():
    x = photographs_of_noise(11, (12, 12))
    y = x + noise_like(x)
    once = spectral_snr(x, y)
    order = torch.randperm(11)
    metric = SpectralSNRMetric()
    for part in order.split(3):
        metric.update(x[part], y[part])
    assert same(metric.compute(), once)
    assert metric.compute().fit_power_law() == once.fit_power_law()


def test_processes_have_the_result_of_one_even_if_one_of_them_has_no_images():
    x = photographs_of_noise(7, (12, 12))
    y = x + noise_like(x)
    shares = [SpectralSNRMetric(num_bands=4) for _ in range(3)]
    shares[0].update(x[:5], y[:5])
    shares[2].update(x[5:], y[5:])

    def gather(state, group=None):
        assert state.dtype is torch.float64  # those of all processes must be alike
        assert state.dim() == 1
        return [m.records[0] if m.records else torch.tensor([]).double() for m in held]

    for metric in shares:
        metric.dist_sync_fn, metric.distributed_available_fn = gather, lambda: True
    held = [copy.deepcopy(m) for m in shares]
    expected = spectral_snr(x, y, num_bands=4)
    assert same(shares[0].compute(), expected)
    with pytest.warns(UserWarning, match="before the ``update``"):  # torchmetrics cannot know
        assert same(shares[1].compute(), expected)


def test_a_metric_is_saved_loaded_pickled_reset_and_moved():
    x = photographs_of_noise(3, (12, 12))
    y = x + noise_like(x)
    metric = SpectralSNRMetric()
    metric.update(x, y)
    expected = metric.compute()
    assert same(pickle.loads(pickle.dumps(metric)).compute(), expected)
    assert same(copy.deepcopy(expected), expected)
    other = SpectralSNRMetric()
    other.load_state_dict(metric.state_dict())
    assert same(other.compute(), expected)
    assert same(metric.to("cpu").half().compute(), expected)
    metric.reset()
    with (
        pytest.raises(ValueError, match="no images yet"),
        pytest.warns(UserWarning, match="before"),
    ):
        metric.compute()


def test_a_batch_that_fails_is_not_counted():
    x = photographs_of_noise(3, (12, 12))
    metric = SpectralSNRMetric()
    metric.update(x, x + noise_like(x))
    before = metric.compute()
    with pytest.raises(ValueError, match=r"one size: got \(16, 16\) after \(12, 12\)"):
        metric.update(torch.rand(2, 2, 16, 16), torch.rand(2, 2, 16, 16))
    assert same(metric.compute(), before)


def test_a_result_cannot_be_changed():
    x = photographs_of_noise(2, (12, 12))
    snr = spectral_snr(x, contrast(0.5), num_bands=2)
    with pytest.raises(AttributeError, match="cannot be changed: decibel"):
        snr.decibel = 1
    assert repr(snr) == "SpectralSNR(2 images, 6.0, 6.0 dB)"


X = torch.rand(2, 3, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X, X[:1]), {}, ValueError, r"perturbed must have the shape of clean, \(2, 3, 8, 8\)"),
        ((X[0], X[0]), {}, ValueError, r"clean must be \(N, C, H, W\), got shape \(3, 8, 8\)"),
        ((X, X.int()), {}, TypeError, "perturbed must be a real floating tensor"),
        ((X, 3), {}, TypeError, "perturbed must be a torch.Tensor"),
        (((X,), X), {}, TypeError, "clean must be one tensor"),
        ((X, X / 0), {}, ValueError, "perturbed must be finite"),
        ((X, X), {"dc": "no"}, ValueError, "dc must be 'drop', 'row' or 'keep', got 'no'"),
        ((X, X), {"num_bands": 0}, ValueError, "num_bands must be at least 1"),
        ((X, X), {"num_bands": 9}, ValueError, "at most num_bands=5 fits"),
        (
            (X, X),
            {"feature_mask": band_mask((8, 8), 2).expand(1, 3, 8, 8)},
            ValueError,
            "the same for all images and channels",
        ),
    ],
)
def test_wrong_arguments_are_refused_by_their_names(arguments, options, error, message):
    with pytest.raises(error, match=message):
        spectral_snr(*arguments, **options)


def test_powers_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"powers must be \(N, 2, 4\)"):
        fit_power_law(torch.ones(3, 4), torch.arange(1, 5) / 8)
