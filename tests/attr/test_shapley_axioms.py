"""Shapley's axioms, for random small networks, images of any size, and random bands."""

import torch
from helpers import tiny_cnn
from hypothesis import given
from hypothesis import strategies as st

from captum_spectral import SpectralShapley, band_mask

sizes = st.tuples(st.integers(9, 16), st.integers(9, 16))
seeds = st.integers(0, 10_000)


def image(size, seed, num_examples=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(num_examples, 2, *size, generator=generator, dtype=torch.float64)


def shapley(model, x, **arguments):
    arguments = {"target": 1, "num_bands": 3, "return_input_shape": False, **arguments}
    return SpectralShapley(model).attribute(x, **arguments)


@given(size=sizes, seed=seeds, num_bands=st.integers(1, 4), n_samples=st.sampled_from([None, 1, 3]))
def test_efficiency_exact_and_sampled(size, seed, num_bands, n_samples):
    model, x = tiny_cnn(2, seed=seed), image(size, seed)
    baseline = image(size, seed + 1)
    phi = shapley(model, x, num_bands=num_bands, n_samples=n_samples, baselines=baseline)
    with torch.no_grad():
        gain = model(x)[:, 1] - model(baseline)[:, 1]
    torch.testing.assert_close(phi.sum(1), gain, rtol=1e-9, atol=1e-11)


@given(size=sizes, seed=seeds, factor=st.floats(-3, 3))
def test_linearity_in_the_model(size, seed, factor):
    first, second, x = tiny_cnn(2, seed=seed), tiny_cnn(2, seed=seed + 1), image(size, seed)
    both = shapley(lambda x: first(x) + factor * second(x), x)
    torch.testing.assert_close(
        both, shapley(first, x) + factor * shapley(second, x), rtol=1e-9, atol=1e-11
    )


@given(size=sizes, seed=seeds, deaf_to=st.integers(0, 2))
def test_a_band_the_model_does_not_hear_is_a_dummy(size, seed, deaf_to):
    model, x, mask = tiny_cnn(2, seed=seed), image(size, seed), band_mask(size, 3)

    def deaf(x):
        return model(torch.fft.ifft2(torch.fft.fft2(x) * (mask != deaf_to)).real)

    phi = shapley(deaf, x, feature_mask=mask)
    assert phi[:, deaf_to].abs().max() < 1e-12


@given(size=sizes, seed=seeds)
def test_symmetry_swapping_the_ids_of_two_bands_swaps_their_values(size, seed):
    model, x, mask = tiny_cnn(2, seed=seed), image(size, seed), band_mask(size, 3)
    swapped = torch.tensor([2, 1, 0])[mask]
    torch.testing.assert_close(
        shapley(model, x, feature_mask=swapped),
        shapley(model, x, feature_mask=mask).flip(1),
        rtol=1e-9,
        atol=1e-12,
    )


@given(size=sizes, seed=seeds)
def test_two_bands_of_equal_role_get_the_same(size, seed):
    # A model that sees the energy of two bands only through their sum, and finds the same in both.
    x, mask = image(size, seed), band_mask(size, 3)

    def energy(x, band):
        kept = torch.fft.ifft2(torch.fft.fft2(x) * (mask == band)).real
        return kept.square().flatten(1).sum(1)

    full = [energy(x, band) for band in (1, 2)]

    def model(x):
        heard = energy(x, 1) / full[0][: len(x)] + energy(x, 2) / full[1][: len(x)]
        return torch.sqrt(heard + energy(x, 0))

    phi = shapley(model, x, target=None, feature_mask=mask, perturbations_per_eval=1)
    torch.testing.assert_close(phi[:, 1], phi[:, 2], rtol=1e-9, atol=1e-12)


@given(size=sizes, seed=seeds)
def test_the_company_in_the_batch_changes_nothing(size, seed):
    model, x = tiny_cnn(2, seed=seed), image(size, seed, num_examples=3)
    together = shapley(model, x)
    for e in range(3):
        torch.testing.assert_close(
            together[e : e + 1], shapley(model, x[e : e + 1]), rtol=1e-9, atol=1e-12
        )
