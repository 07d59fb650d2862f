"""Functions on arrays of bytes as corruptions: seeded where that is possible, marked where not."""

# ruff: noqa: NPY002 - it is the global state that is looked at

import random
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from captum_spectral.robustness.adapters import numpy_corruption


def images(n=3, channels=3, seed=0):
    """Pixels that are whole levels, so that rounding to bytes changes nothing."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, channels, 32, 40), generator=generator).double() / 255


def noisy(image, severity):
    return np.clip(image + np.random.normal(0, 10 * severity, image.shape), 0, 255)


def shuffled(image, severity):
    rows = list(range(len(image)))
    random.shuffle(rows)
    return image[rows]


def own_generator(image, severity):
    return np.random.default_rng().integers(0, 256, image.shape).astype(np.uint8)


def inverted(image, severity):
    image[:] = 255 - image  # in place
    return image


def blurred(image, severity):
    return Image.fromarray(image).filter(ImageFilter.GaussianBlur(severity))


def test_functions_see_the_bytes_of_an_image_and_the_severity():
    seen = []

    def function(image, severity):
        seen.append((image.copy(), severity))
        return 255 - image

    x = images(2)
    made = numpy_corruption(function, "inverted", ("a", "b"), reproducible=True)(x, 2)
    torch.testing.assert_close(made, 1 - x)
    assert [severity for _, severity in seen] == ["b", "b"]
    for (image, _), pixels in zip(seen, x, strict=True):
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, (pixels.permute(1, 2, 0) * 255).round().numpy())


def test_images_of_pillow_and_functions_in_place_are_fine():
    x = images(2)
    before = x.clone()
    torch.testing.assert_close(numpy_corruption(inverted, "inverted")(x, 1), 1 - x)
    made = numpy_corruption(blurred, "blurred")(x, 2)
    array = (x[1].permute(1, 2, 0) * 255).round().byte().numpy()
    np.testing.assert_array_equal((made[1].permute(1, 2, 0) * 255).round(), blurred(array, 2))
    assert torch.equal(x, before)


@pytest.mark.parametrize("function", [noisy, shuffled])
def test_global_states_are_seeded_for_each_image_and_put_back(function):
    corruption = numpy_corruption(function, "drawn")
    assert corruption.reproducible
    x = images(4)
    np.random.seed(3)
    random.seed(3)
    before = np.random.get_state()[1].copy(), random.getstate()
    whole = corruption(x, 2, seed=1)
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert random.getstate() == before[1]
    np.random.seed(4)
    random.seed(4)
    order = torch.tensor([3, 1, 0, 2])
    assert torch.equal(corruption(x[order], 2, seed=1), whole[order])
    assert torch.equal(corruption(x[2:3], 2, seed=1), whole[2:3])
    assert not torch.equal(corruption(x, 2, seed=2), whole)
    assert not torch.equal(whole[0] - x[0], whole[1] - x[1])


def test_global_states_are_put_back_after_an_error():
    def failing(image, severity):
        np.random.seed(99)
        random.seed(99)
        raise RuntimeError("no frost without pictures")

    before = np.random.get_state()[1].copy(), random.getstate()
    with pytest.raises(RuntimeError, match="no frost"):
        numpy_corruption(failing, "frost", reproducible=True)(images(), 1)
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert random.getstate() == before[1]


def test_draws_that_nobody_can_seed_are_marked():
    assert not numpy_corruption(own_generator, "glass").reproducible
    assert numpy_corruption(inverted, "inverted").reproducible
    calls = []
    marked = numpy_corruption(lambda *a: calls.append(a), "glass", reproducible=False)
    assert not marked.reproducible
    assert calls == []  # the answer was given


def test_grey_is_shown_as_three_equal_channels_and_stays_grey():
    def function(image, severity):
        assert np.array_equal(image[..., 0], image[..., 1])
        assert np.array_equal(image[..., 0], image[..., 2])
        return noisy(image, severity)

    grey = images(2, channels=1)
    made = numpy_corruption(function, "noisy", reproducible=True)(grey, 3)
    assert made.shape == grey.shape
    flat = numpy_corruption(lambda image, severity: image[..., 1], "grey")  # (H, W)
    torch.testing.assert_close(flat(grey, 1), grey)
    torch.testing.assert_close(flat(images(2), 1), images(2)[:, 1:2].expand(-1, 3, -1, -1))


WRONG = {
    "shape": (
        lambda i, s: i[1:],
        ValueError,
        r"of f must keep the shape \(32, 40, 3\) .* \(31",
    ),
    "text": (
        lambda i, s: np.array("x"),
        TypeError,
        "function of f must give real numbers, got",
    ),
    "floats": (
        lambda i, s: i / 255,
        ValueError,
        "up to 1, and they are taken from 0 to 255",
    ),
    "nan": (lambda i, s: i * np.nan, ValueError, "function of f gave values that are not"),
}


@pytest.mark.parametrize(("function", "kind", "message"), WRONG.values(), ids=list(WRONG))
def test_a_function_that_gives_no_image_is_named(function, kind, message):
    x = images()
    x[:, :, 0, 0] = 1
    with pytest.raises(kind, match=message):
        numpy_corruption(function, "f", reproducible=True)(x, 1)


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match=r"as function\(image, severity\), got NoneType"):
        numpy_corruption(None, "f")
    with pytest.raises(ValueError, match="takes images of 1 or 3 channels, got 2"):
        numpy_corruption(noisy, "f")(images(channels=2), 1)
    with pytest.raises(ValueError, match="f failed on a first image of 64 by 64 pixels: integer"):
        numpy_corruption(lambda image, severity: 1 // 0, "f")


def test_the_original_fifteen():
    imagecorruptions = pytest.importorskip("imagecorruptions")
    x = images(2)
    for name in imagecorruptions.get_corruption_names():
        function = partial(imagecorruptions.corrupt, corruption_name=name)
        corruption = numpy_corruption(function, name)
        first, again = corruption(x, 3), corruption(x.flip(0), 3).flip(0)
        assert torch.equal(first, again) == corruption.reproducible
        assert not torch.equal(first, x)
