"""Calls of corruptions: what belongs to each image, functions of one's own, wrong arguments."""

import pickle
from copy import deepcopy

import pytest
import torch

from captum_spectral.robustness import _functions
from captum_spectral.robustness.corruptions import Corruption, builtin_corruptions

LARGE = {c.name: c for c in builtin_corruptions("large")}
SMALL = {c.name: c for c in builtin_corruptions("small")}
EVERY = pytest.mark.parametrize("name", LARGE)
RANDOM = pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise"])


def pixels(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype)


# ------------------------------------------------------------------ what belongs to an image


@EVERY
def test_an_image_is_corrupted_alike_in_any_batch_and_order(name):
    x = pixels(4, 3, 64, 70, dtype=torch.float32)
    whole = LARGE[name](x, 3, seed=5)
    alone = torch.cat([LARGE[name](x[i : i + 1], 3, seed=5) for i in range(4)])
    order = torch.tensor([2, 0, 3, 1])
    assert torch.equal(whole, alone)
    assert torch.equal(whole[order], LARGE[name](x[order], 3, seed=5))


@RANDOM
def test_seed_severity_and_image_change_the_noise(name):
    corruption = LARGE[name]
    other = Corruption("other", corruption.function, corruption.severities)
    twice = Corruption(name, corruption.function, (corruption.severities[0],) * 2)
    x = torch.full((1, 3, 64, 64), 0.5)
    first = twice(x, 1)
    assert torch.equal(first, twice(x, 1, seed=0))
    assert torch.equal(first, corruption(x, 1))
    for different in (twice(x, 1, seed=1), twice(x, 2), other(x, 1)):
        assert not torch.equal(first, different)
    neighbour = x.clone()
    neighbour[0, 0, 0, 0] = 0.25
    assert not torch.equal(first[0, 1], twice(neighbour, 1)[0, 1])


@EVERY
def test_global_random_states_are_neither_used_nor_changed(name):
    x = pixels(1, 3, 64, 64)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = LARGE[name](x, 2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(LARGE[name](x, 2), first)


@EVERY
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_shape_and_range_stay(name, channels, dtype):
    x = pixels(2, channels, 65, 70, dtype=dtype)
    before = x.clone()
    for corruption in (LARGE[name], SMALL[name]):
        made = corruption(x, 5)
        assert (made.dtype, made.shape, made.device) == (x.dtype, x.shape, x.device)
        assert 0 <= float(made.min()) <= float(made.max()) <= 1
    assert torch.equal(x, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@EVERY
def test_cuda_draws_and_computes_the_same(name):
    x = pixels(2, 3, 70, 64, dtype=torch.float32)
    made = LARGE[name](x.cuda(), 3)
    assert made.is_cuda
    torch.testing.assert_close(made.cpu(), LARGE[name](x, 3), rtol=0, atol=2e-6)


@EVERY
def test_gradients_and_inference_mode_do_not_matter(name):
    x = pixels(1, 3, 65, 67)  # of a size that no other test has: nothing is kept from before
    with torch.inference_mode():
        first = LARGE[name](x.clone(), 2)
    made = LARGE[name](x.clone().requires_grad_(), 2)
    assert not made.requires_grad
    assert torch.equal(first, made)


def test_corruptions_travel_to_other_processes():
    x = pixels(1, 3, 64, 64)
    for corruption in LARGE.values():
        travelled = pickle.loads(pickle.dumps(corruption))
        assert travelled == corruption == deepcopy(corruption)
        assert torch.equal(travelled(x, 1), corruption(x, 1))


# ------------------------------------------------------------------ corruptions of one's own


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_function_of_ones_own_gets_the_value_and_random_numbers_of_each_image(dtype):
    seen = []

    def function(x, value, generator):
        seen.append((tuple(x.shape), x.dtype, value))
        x += torch.rand(x.shape, generator=generator, dtype=x.dtype)
        return x

    x = pixels(3, 1, 4, 5, dtype=dtype)
    before = x.clone()
    made = Corruption("mine", function, ["mild", "strong"], group="noise")(x, 2)
    assert seen == [((1, 1, 4, 5), torch.float32, "strong")] * 3
    assert torch.equal(x, before)
    assert float(made.max()) == 1  # clamped


BROKEN = {
    "list": (
        lambda x, v, g: [x],
        TypeError,
        "function of broken must return a real tensor, got",
    ),
    "complex": (lambda x, v, g: x + 0j, TypeError, "must return a real tensor, got to"),
    "shape": (
        lambda x, v, g: x[..., 1:],
        ValueError,
        r"keep the shape \(1, 3, 8, 8\), got",
    ),
    "nan": (
        lambda x, v, g: x / 0 * 0,
        ValueError,
        "function of broken gave values that are",
    ),
}


@pytest.mark.parametrize(("function", "kind", "message"), BROKEN.values(), ids=list(BROKEN))
def test_a_function_that_gives_no_images_is_named(function, kind, message):
    with pytest.raises(kind, match=message):
        Corruption("broken", function, (1,))(pixels(1, 3, 8, 8), 1)


WRONG = {
    "a tuple": (lambda: ((pixels(1, 3, 64, 64),), 1), TypeError, "images must be one tensor"),
    "no tensor": (lambda: ([1.0], 1), TypeError, "images must be a torch.Tensor"),
    "bytes": (
        lambda: (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), 1),
        TypeError,
        r"images must be a real floating tensor, got dtype torch.uint8; use .float",
    ),
    "one image": (lambda: (pixels(3, 64, 64), 1), ValueError, r"\(B, C, H, W\), got shape \(3, 64"),
    "levels": (
        lambda: (255 * torch.ones(1, 3, 64, 64), 1),
        ValueError,
        "images must be pixels from 0 to 1, got 255 to 255; divide by 255",
    ),
    "NaN": (
        lambda: (torch.full((1, 3, 64, 64), torch.nan), 1),
        ValueError,
        "images must be finite",
    ),
    "severity 0": (
        lambda: (pixels(1, 3, 64, 64), 0),
        ValueError,
        "severity must be at least 1, got",
    ),
    "severity 6": (
        lambda: (pixels(1, 3, 64, 64), 6),
        ValueError,
        "severity must be from 1 to 5 for gaussian_noise, got 6",
    ),
    "severity": (lambda: (pixels(1, 3, 64, 64), 1.0), TypeError, "severity must be an integer"),
    "seed": (lambda: (pixels(1, 3, 64, 64), 1, -1), ValueError, "seed must be at least 0, got -1"),
}


@pytest.mark.parametrize(("arguments", "kind", "message"), WRONG.values(), ids=list(WRONG))
def test_wrong_images_severities_and_seeds_are_named(arguments, kind, message):
    with pytest.raises(kind, match=message):
        LARGE["gaussian_noise"](*arguments())


IMPOSSIBLE = {
    "name": ({"name": 3}, TypeError, "name must be a string, got 3"),
    "no name": ({"name": ""}, ValueError, "name must not be empty"),
    "function": ({"function": None}, TypeError, "function must be callable .* got NoneType"),
    "severities": ({"severities": 3}, TypeError, "severities must be a tuple .* got 3"),
    "no severities": ({"severities": ()}, ValueError, "severities must hold at least one"),
    "group": ({"group": "weather"}, ValueError, "group must be one of 'noise', .* got 'weather'"),
}


@pytest.mark.parametrize(("changed", "kind", "message"), IMPOSSIBLE.values(), ids=list(IMPOSSIBLE))
def test_impossible_corruptions_are_refused(changed, kind, message):
    arguments = {"name": "x", "function": _functions.contrast, "severities": (1,)} | changed
    with pytest.raises(kind, match=message):
        Corruption(**arguments)


@pytest.mark.parametrize("scale", ["medium", 64, (1, 64, 64)])
def test_an_unknown_scale_is_an_error(scale):
    with pytest.raises(ValueError, match=r"'large', 'small' or a size \(H, W\), got"):
        builtin_corruptions(scale)
