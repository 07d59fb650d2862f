"""Splitting a signal into bands and painting values back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_spectral import band_mask, paint, split_bands, unpaint

shapes = st.tuples(st.integers(5, 13), st.integers(5, 13))


@given(shape=shapes, norm=st.sampled_from(["linf", "l2", "l1"]), seed=st.integers(0, 9))
def test_the_bands_sum_to_the_input(shape, norm, seed):
    x = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(seed)).double()
    bands = split_bands(x, band_mask(shape, 2, norm))
    assert bands.shape == (2, 2, 3, *shape)
    torch.testing.assert_close(bands.sum(1), x, rtol=1e-12, atol=1e-12)


@given(shape=shapes, seed=st.integers(0, 9))
def test_absent_bands_hold_no_energy(shape, seed):
    x = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(seed)).double()
    mask = band_mask(shape, 2)
    spectrum = torch.fft.fft2(split_bands(x, mask))
    outside = spectrum.abs().square() * (mask != torch.arange(2)[:, None, None, None])
    assert outside.sum() < 1e-20 * spectrum.abs().square().sum()


@pytest.mark.parametrize(
    ("shape", "dims"),
    [((2, 3, 24), (-1,)), ((2, 1, 6, 7, 8), (-3, -2, -1)), ((2, 6, 7, 3), (1, 2)), ((2, 9), -1)],
)
def test_signals_and_volumes_and_leading_dims(shape, dims):
    x = torch.randn(shape).double()
    tuple_dims = (dims,) if isinstance(dims, int) else dims
    mask = band_mask([shape[d] for d in tuple_dims], 2)
    bands = split_bands(x, mask, spectral_dims=dims)
    torch.testing.assert_close(bands.sum(1), x)
    if shape == (2, 6, 7, 3):  # channels last: as if the channels came first
        moved = split_bands(x.movedim(-1, 1), mask)
        torch.testing.assert_close(bands, moved.movedim(2, -1))


def test_the_order_of_spectral_dims_is_the_order_of_the_mask():
    x = torch.randn(2, 5, 8).double()
    mask = band_mask((8, 5), 2)
    torch.testing.assert_close(
        split_bands(x, mask, spectral_dims=(-1, -2)), split_bands(x, mask.T.contiguous())
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_transformed_in_float32(dtype):
    x = torch.randn(1, 1, 9, 12).to(dtype)
    bands = split_bands(x, band_mask((9, 12), 3))
    assert bands.dtype is torch.float32
    torch.testing.assert_close(bands.sum(1), x.float(), rtol=1e-5, atol=1e-5)


def test_a_tuple_gives_a_tuple_with_the_bands_of_all_tensors():
    x = (torch.randn(2, 1, 8, 8), torch.randn(2, 3, 6, 9))
    first, second = split_bands(x, num_bands=2)
    assert first.shape == (2, 4, 1, 8, 8)
    assert second.shape == (2, 4, 3, 6, 9)
    assert not first[:, 2:].any()
    assert not second[:, :2].any()


def test_bands_per_channel_and_per_example():
    x = torch.randn(2, 3, 8, 8).double()
    base = band_mask((8, 8), 2)
    per_channel = torch.stack([base + 2 * c for c in range(3)])
    bands = split_bands(x, per_channel)
    assert bands.shape == (2, 6, 3, 8, 8)
    torch.testing.assert_close(bands[:, 2, 1], split_bands(x, base)[:, 0, 1])
    assert not bands[:, 2, 0].any()
    per_example = torch.stack([base, 1 - base])[:, None]
    torch.testing.assert_close(split_bands(x, per_example)[1, 0], split_bands(x, base)[1, 1])


def test_painting_gives_every_bin_its_bands_value_and_unpaint_reads_it():
    x = torch.randn(2, 3, 8, 9)
    mask = band_mask((8, 9), 3)
    values = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    painted = paint(values, mask, x)
    assert painted.shape == x.shape
    assert painted.is_contiguous()
    for b in range(2):
        for i in range(3):
            assert (painted[b][:, mask == i] == values[b, i]).all()
    assert torch.equal(unpaint(painted, mask), values)


def test_painting_several_outputs_tuples_and_one_result_per_batch():
    x = (torch.randn(2, 1, 8, 8), torch.randn(2, 3, 6, 9))
    masks = (band_mask((8, 8), 2), band_mask((6, 9), 2) + 2)
    values = torch.rand(2, 5, 4)
    first, second = paint(values, masks, x)
    assert first.shape == (2, 5, 1, 8, 8)
    assert second.shape == (2, 5, 3, 6, 9)
    assert second[1, 4, 0, 0, 0] == values[1, 4, 2]
    assert paint(torch.rand(1, 2), masks[0], x[0]).shape == (1, 1, 8, 8)


def test_too_few_values_for_the_mask():
    with pytest.raises(ValueError, match=r"M >= 3, the bands of feature_mask; got shape \(2, 2\)"):
        paint(torch.rand(2, 2), band_mask((8, 8), 3), torch.rand(2, 1, 8, 8))


def test_expanded_signals():
    row = torch.rand(1, 1, 1, 12)
    for x in (row.expand(2, 3, 9, 12), row.mT.expand(2, 3, 12, 9)):
        bands = split_bands(x, num_bands=3)
        torch.testing.assert_close(bands, split_bands(x.clone(), num_bands=3))


def test_pieces_check_what_they_are_given():
    x = torch.rand(2, 1, 10, 12)
    with pytest.raises(TypeError, match="like must be a real floating tensor"):
        paint(torch.rand(2, 3), band_mask((10, 12), 3), x.long())
    with pytest.raises(ValueError, match="fits neither"):
        split_bands(x, band_mask((10, 13), 3))
