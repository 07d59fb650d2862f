"""The frequency response against dense matrices, made by loops."""

import numpy as np
import pytest
import torch
from dense import convolution, dense, waves
from torch import nn

from captum_spectral import band_mask
from captum_spectral.weights import frequency_response

# Channels, kernel, size of the input, options: every combination of what can be combined.
CASES = [
    pytest.param((c * g, o * g), kernel, size, dict(stride=s, groups=g, dilation=d, **more),
                 id=f"{len(kernel)}d-{kernel[0]}-s{s}g{g}d{d}{'t' if more else ''}")
    for kernel, size in [
        ((3,), (12,)), ((4,), (6,)), ((9,), (6,)), ((3, 2), (6, 4)), ((5, 7), (4, 6)),
        ((2, 3, 2), (2, 2, 4)),
    ]
    for s in (1, 2)
    for g, c, o in ((1, 2, 3), (2, 2, 1), (3, 1, 1))
    for d in (1, 2)
    for more in ({}, {"transposed": True})
    if len(kernel) < 3 or g < 3
]  # fmt: skip


@pytest.mark.parametrize(("channels", "kernel", "size", "options"), CASES)
def test_singular_values_are_those_of_the_dense_matrix(channels, kernel, size, options):
    layer = convolution(channels, kernel, **options)
    if options.get("transposed"):
        size = tuple(n // options["stride"] for n in size)
    response = frequency_response(layer, size)
    expected = np.linalg.svd(dense(layer, size), compute_uv=False)
    values = response.singular_values()
    found = np.sort(values.detach().numpy().ravel())[::-1]
    np.testing.assert_allclose(found[: len(expected)], expected[: len(found)], rtol=0, atol=1e-12)
    assert len(found) <= len(expected)  # the others are those of channels that nothing reaches
    assert expected[len(found) :].max(initial=0) < 1e-12
    assert float(response.norm().detach()) == pytest.approx(expected[0], abs=1e-12)
    with torch.no_grad():  # another way, by Gram matrices
        assert float(response.norm()) == pytest.approx(expected[0], abs=1e-12)


@pytest.mark.parametrize("kind", ["max", "rms"])
@pytest.mark.parametrize(("channels", "kernel", "size", "options"), CASES[::5])
def test_gains_are_those_of_the_dense_matrix_on_waves(channels, kernel, size, options, kind):
    layer = convolution(channels, kernel, **options)
    if options.get("transposed"):
        size = tuple(n // options["stride"] for n in size)
    matrix = dense(layer, size)
    gain = frequency_response(layer, size).gain(kind).detach()
    assert gain.shape == size
    for k in list(np.ndindex(size))[:: 1 + len(gain.ravel()) // 5]:
        inside = np.zeros(size, bool)
        inside[k] = True
        passed = matrix @ waves(inside, channels[0])
        expected = (
            np.linalg.norm(passed, 2)
            if kind == "max"
            else np.linalg.norm(passed) / np.sqrt(channels[0])
        )
        assert float(gain[k]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", ["max", "rms"])
@pytest.mark.parametrize(("channels", "kernel", "size", "options"), CASES[1::5])
def test_band_gains_are_those_of_the_dense_matrix_times_the_projector(
    channels, kernel, size, options, kind
):
    layer = convolution(channels, kernel, **options)
    if options.get("transposed"):
        size = tuple(n // options["stride"] for n in size)
    matrix, mask = dense(layer, size), band_mask(size, 2)
    power = torch.rand(size, dtype=torch.float64) if kind == "rms" else None
    found = frequency_response(layer, size).band_gain(mask, kind=kind, power=power).detach()
    assert found.shape == (2,)
    for band in (0, 1):
        inside = (mask == band).numpy()
        basis = waves(inside, channels[0])
        if kind == "max":
            expected = np.linalg.norm(matrix @ basis, 2)
        else:
            weights = np.tile(power.numpy()[inside], channels[0])
            passed = np.linalg.norm(matrix @ basis, axis=0) ** 2 @ weights
            expected = np.sqrt(passed / weights.sum())
        assert float(found[band]) == pytest.approx(expected, abs=1e-12)


def test_a_layer_of_pytorch_with_circular_padding_is_the_dense_matrix():
    layer = convolution((2, 3), (3, 5), padding=(1, 2), padding_mode="circular")
    basis = torch.eye(2 * 6 * 8, dtype=torch.float64).reshape(-1, 2, 6, 8)
    matrix = layer(basis).detach().flatten(1).T.numpy()
    expected = np.linalg.svd(matrix, compute_uv=False)
    found = frequency_response(layer, (6, 8)).singular_values().detach().numpy()
    np.testing.assert_allclose(np.sort(found.ravel())[::-1], expected, rtol=0, atol=1e-12)


def test_a_linear_layer_is_one_matrix():
    layer = nn.Linear(4, 3).double()
    response = frequency_response(layer.requires_grad_(False))
    expected = torch.linalg.svdvals(layer.weight)
    assert response.size == (1,)
    torch.testing.assert_close(response.singular_values()[0, 0], expected, rtol=0, atol=1e-12)
    assert float(response.norm_bound()) == pytest.approx(float(expected[0]), rel=1e-12)
    assert response.matrices.shape == (1, 1, 3, 4)
    assert torch.equal(response.matrices[0, 0].real, layer.weight)
    wide = frequency_response(layer, (6, 4))
    assert wide.gain().shape == (6, 4)
    torch.testing.assert_close(wide.band_gain(num_bands=2), expected[[0, 0]])


def test_matrices_are_the_transform_of_the_kernel():
    layer = convolution((4, 6), (3, 3), groups=2)
    grouped = layer.weight.detach().reshape(2, 3, 2, 3, 3)
    expected = torch.fft.fftn(grouped, s=(8, 6), dim=(-2, -1)).conj()
    found = frequency_response(layer, (8, 6)).matrices.detach()
    assert found.shape == (8, 6, 2, 3, 2)
    torch.testing.assert_close(found, expected.permute(3, 4, 0, 1, 2), rtol=0, atol=1e-12)


def test_matrices_of_a_transposed_layer_are_at_the_frequencies_of_its_output():
    layer = convolution((2, 3), (4,), transposed=True, stride=2)
    found = frequency_response(layer, 6).matrices.detach()  # (12, 1, 3, 2)
    expected = torch.fft.fft(layer.weight.detach(), 12).permute(2, 1, 0)
    torch.testing.assert_close(found[:, 0], expected, rtol=0, atol=1e-12)


def test_a_kernel_larger_than_the_grid_is_wrapped_and_not_cropped():
    layer = convolution((1, 1), (7,))
    wrapped = torch.zeros(4, dtype=torch.float64)
    for tap in range(7):
        wrapped[tap % 4] += layer.weight.detach()[0, 0, tap]
    torch.testing.assert_close(
        frequency_response(layer, 4).gain().detach(), torch.fft.fft(wrapped).abs()
    )
