"""Gradients over samples that lack random features: exact cases, the law of the samples, claims."""

import inspect
import io
from contextlib import redirect_stderr
from itertools import product
from math import factorial

import pytest
import torch
from captum.attr import GradientAttribution, NoiseTunnel, Saliency
from helpers import Counting, Quadratic, tiny_cnn
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from captum_spectral import FeatureSuppression, SpectralShapley, band_mask, split_bands

X = torch.rand(3, 2, 10, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
X += 0.5  # no pixel is 0, so a suppressed one is seen
TARGETS = [0, 3, 1]
BLOCKS = (torch.arange(10)[:, None] // 5) * 3 + torch.arange(12) // 4  # (10, 12), 6 groups
BANDS = {"domain": "frequency", "num_bands": 3}
WAYS = [
    pytest.param({}, id="pixels"),
    pytest.param({"feature_mask": BLOCKS[None, None]}, id="blocks"),
    pytest.param(BANDS, id="bands"),
]
FULL_PRECISION = {"rtol": 1e-10, "atol": 1e-12}


class Recording(nn.Module):
    """Keeps the inputs that it is given."""

    def __init__(self, model):
        super().__init__()
        self.model, self.seen = model, []
        self.eval()

    def forward(self, *inputs):
        self.seen.append(tuple(x.detach().clone() for x in inputs))
        return self.model(*inputs)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def run(model, inputs=X, target=TARGETS, seed=0, **arguments):
    return FeatureSuppression(model).attribute(
        inputs, target, generator=seeded(seed), **{"n_samples": 6, **arguments}
    )


def samples_of(model, inputs=X, target=TARGETS, **arguments):
    """The samples the model saw, ``(n_samples, B, ...)``."""
    recording = Recording(model)
    run(recording, inputs, target, **arguments)
    return torch.stack([seen[0] for seen in recording.seen])


# ------------------------------------------------------------------------------- exact cases


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_without_suppression_it_is_saliency(way, absolute):
    model = tiny_cnn(2)
    expected = Saliency(model).attribute(X.clone().requires_grad_(), TARGETS, abs=absolute)
    ours, error = run(model, suppress=0, absolute=absolute, return_standard_error=True, **way)
    torch.testing.assert_close(ours, expected, **FULL_PRECISION)
    assert error.max() < 1e-15


def test_when_all_is_suppressed_it_is_saliency_of_the_baseline():
    model, b = tiny_cnn(2), X.flip(0) ** 2
    expected = Saliency(model).attribute(b.clone().requires_grad_(), TARGETS)
    torch.testing.assert_close(run(model, suppress=1, baselines=b), expected, **FULL_PRECISION)


@given(
    st.integers(0, 2**31 - 1),
    st.floats(0, 1),
    st.sampled_from([way.values[0] for way in WAYS]),
    st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_a_linear_model_has_its_weights_whatever_is_suppressed(seed, r, way, absolute):
    weight = torch.randn(2, 10, 12, generator=seeded(seed), dtype=torch.float64)
    z, error = run(
        lambda x: (x * weight).flatten(1).sum(1),
        target=None,
        seed=seed,
        suppress=r,
        absolute=absolute,
        return_standard_error=True,
        **way,
    )
    assert torch.equal(z, (weight.abs() if absolute else weight).expand_as(X))
    assert torch.equal(error, torch.zeros_like(X))


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_it_is_the_mean_and_the_error_of_gradients_at_the_samples(way, absolute):
    model = tiny_cnn(2)
    b = X.mean(0, keepdim=True)
    arguments = {"baselines": b, "absolute": absolute, "suppress": (0.2, 0.9), **way}
    gradients = []
    for sample in samples_of(model, **arguments):
        sample.requires_grad_()
        output = model(sample)[torch.arange(3), TARGETS].sum()
        gradients.append(torch.autograd.grad(output, sample)[0])
    gradients = torch.stack(gradients)
    gradients = gradients.abs() if absolute else gradients
    z, error = run(model, return_standard_error=True, **arguments)
    torch.testing.assert_close(z, gradients.mean(0), **FULL_PRECISION)
    torch.testing.assert_close(error, gradients.std(0) / 6**0.5, **FULL_PRECISION)


# ------------------------------------------------------------------------------- the samples


def test_a_pixel_is_kept_or_holds_the_baseline_in_all_channels_and_examples():
    b = -X
    kept = samples_of(tiny_cnn(2), baselines=b) == X
    assert torch.equal(samples_of(tiny_cnn(2), baselines=b), torch.where(kept, X, b))
    assert torch.equal(kept, kept[:, :1, :1].expand_as(kept))
    assert len(kept[:, 0, 0].flatten(1).unique(dim=0)) == 6


def test_a_group_is_suppressed_as_a_whole_and_groups_differ_between_channels_if_asked():
    samples = samples_of(tiny_cnn(2), feature_mask=torch.stack([BLOCKS, BLOCKS + 6]))
    kept = (samples == X)[:, 0]
    values = []
    for group in range(6):
        for channel in range(2):
            places = kept[:, channel, group == BLOCKS]
            assert torch.equal(places, places[:, :1].expand_as(places))
            values.append(places[:, 0])
    patterns = torch.stack(values, 1)
    assert (patterns[:, ::2] != patterns[:, 1::2]).any()


def test_only_which_places_share_an_id_matters():
    a = run(tiny_cnn(2), feature_mask=BLOCKS)
    torch.testing.assert_close(run(tiny_cnn(2), feature_mask=10**12 + 7 * BLOCKS), a)


def test_samples_of_bands_are_sums_of_the_bands_of_split_bands():
    b = X.flip(0) ** 2
    samples = samples_of(tiny_cnn(2), baselines=b, suppress=0.5, **BANDS)
    bands = split_bands(X - b, num_bands=3)
    seen = set()
    for sample in samples:
        fits = [
            m
            for m in product([0.0, 1.0], repeat=3)
            if torch.allclose(
                sample, b + torch.einsum("m,bm...->b...", torch.tensor(m).to(b), bands)
            )
        ]
        assert len(fits) == 1  # one coalition of bands, the same in all examples
        seen.add(fits[0])
    assert len(seen) > 1
    given_mask = samples_of(
        tiny_cnn(2),
        baselines=b,
        suppress=0.5,
        domain="frequency",
        feature_mask=band_mask((10, 12), 3),
    )
    assert torch.equal(given_mask, samples)


@pytest.mark.parametrize(
    ("suppress", "expected"), [(0.7, 0.7), (0.1, 0.1), ((0.4, 1.0), 0.7), ((0, 1), 0.5)]
)
def test_the_share_of_suppressed_features_is_the_ratio(suppress, expected):
    x = torch.ones(1, 1, 40, 40)
    samples = samples_of(tiny_cnn(1, dtype=torch.float32), x, 0, suppress=suppress, n_samples=200)
    share = (samples == 0).double().flatten(1).mean(1)
    if isinstance(suppress, tuple):  # each sample has its own
        lo, hi = suppress
        assert share.min() < lo + 0.1 * (hi - lo) + 0.05
        assert share.max() > hi - 0.1 * (hi - lo) - 0.05
        assert abs(share.mean() - expected) < 5 * (hi - lo) / (12 * 200) ** 0.5
    else:
        assert abs(share.mean() - expected) < 5 * (expected * (1 - expected) / 320_000) ** 0.5


def test_a_larger_ratio_suppresses_the_same_and_more():
    some, more = (samples_of(tiny_cnn(2), suppress=r) == 0 for r in (0.3, (0.6, 0.6)))
    assert bool((some <= more).all())
    assert more.sum() > some.sum()


@pytest.mark.parametrize("way", WAYS)
def test_the_seed_decides_and_a_given_generator_leaves_the_global_one_alone(way):
    state = torch.get_rng_state()
    first, again, other = (run(tiny_cnn(2), seed=seed, **way) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    explainer = FeatureSuppression(tiny_cnn(2))
    torch.manual_seed(1)
    assert torch.equal(explainer.attribute(X, TARGETS, n_samples=6, **way), first)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 100])
def test_internal_batch_size_bounds_the_rows_and_changes_nothing_else(way, size):
    model = Counting(tiny_cnn(2))
    arguments = {"return_standard_error": True, "baselines": X.flip(0), **way}
    for ours, whole in zip(
        run(model, internal_batch_size=size, **arguments),
        run(tiny_cnn(2), **arguments),
        strict=True,
    ):
        torch.testing.assert_close(ours, whole, **FULL_PRECISION)
    assert max(shape[0] for shape in model.shapes) == min(size, 18)
    assert model.rows == 18


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_equals_its_examples_one_at_a_time_from_the_same_seed(way):
    b = X.flip(0)
    together = run(tiny_cnn(2), baselines=b, **way)
    for e in range(3):
        alone = run(tiny_cnn(2), X[e : e + 1], TARGETS[e], baselines=b[e : e + 1], **way)
        torch.testing.assert_close(together[e : e + 1], alone, **FULL_PRECISION)


@pytest.mark.parametrize(
    "masks",
    [
        torch.stack([BLOCKS, BLOCKS.flip(0), BLOCKS.flip(1)])[:, None],
        torch.stack([band_mask((10, 12), 3, norm) for norm in ("linf", "l2", "l1")])[:, None],
    ],
)
def test_masks_may_differ_between_examples(masks):
    domain = "pixel" if int(masks.max()) == 5 else "frequency"
    together = run(tiny_cnn(2), feature_mask=masks, domain=domain, internal_batch_size=2)
    for e in range(3):
        alone = run(
            tiny_cnn(2), X[e : e + 1], TARGETS[e], feature_mask=masks[e : e + 1], domain=domain
        )
        torch.testing.assert_close(together[e : e + 1], alone, **FULL_PRECISION)


# ------------------------------------------------------------------------------- the estimate


def test_the_standard_error_is_the_spread_over_repetitions_and_falls_as_one_over_root_n():
    x = X[:1]
    typical = {}
    for n in (10, 90):
        runs = [
            run(tiny_cnn(2), x, 0, seed, n_samples=n, return_standard_error=True)
            for seed in range(40)
        ]
        spread = torch.stack([z for z, _ in runs]).var(0).mean().sqrt()
        typical[n] = torch.stack([error for _, error in runs]).square().mean().sqrt()
        assert 0.9 < typical[n] / spread < 1.1
    assert 2.8 < typical[10] / typical[90] < 3.2  # 3 = sqrt(90 / 10)


def shapley(value, num_players):
    """The textbook sum over orderings' weights: value takes a tuple of 0 and 1."""
    phi = [0.0] * num_players
    for coalition in product([0, 1], repeat=num_players):
        size = sum(coalition)
        for i in range(num_players):
            if not coalition[i]:
                w = factorial(size) * factorial(num_players - size - 1) / factorial(num_players)
                joined = (*coalition[:i], 1, *coalition[i + 1 :])
                phi[i] += w * (value(joined) - value(coalition))
    return torch.tensor(phi, dtype=torch.float64)


def test_signed_with_uniform_ratio_it_estimates_shapley_values_of_a_multilinear_model():
    def multilinear(x):
        a, b, c, d = x.flatten(1).unbind(1)
        return 2 * a * b * c - b * d + 0.5 * a * c * d + 3 * d

    x = torch.tensor([1.0, -2.0, 0.5, 1.5], dtype=torch.float64).reshape(1, 1, 4)
    b = torch.tensor([0.2, 0.5, -1.0, 0.1], dtype=torch.float64).reshape(1, 1, 4)
    expected = shapley(lambda m: float(multilinear(torch.where(torch.tensor(m) > 0, x, b))), 4)
    z, error = FeatureSuppression(multilinear).attribute(
        x,
        baselines=b,
        suppress=(0, 1),
        absolute=False,
        n_samples=4000,
        internal_batch_size=500,
        generator=seeded(),
        return_standard_error=True,
    )
    phi, sigma = ((x - b) * z).flatten(), ((x - b).abs() * error).flatten()
    assert bool(((phi - expected).abs() < 4 * sigma).all())
    assert sigma.max() < 0.05 * expected.abs().max()


def test_signed_with_uniform_ratio_bands_agree_with_spectral_shapley_on_a_multilinear_model():
    x = X[:1, :1]
    weights = split_bands(torch.randn(1, 1, 10, 12, generator=seeded(3)).double(), num_bands=3)[0]

    def multilinear(signals):  # in the bands: every factor sees one of them
        a, b, c = (signals.flatten(1) @ weights.flatten(1).T).unbind(1)
        return a * b - 0.3 * b * c + 0.1 * a * b * c + 2 * c

    expected = SpectralShapley(multilinear).attribute(x, num_bands=3, return_input_shape=False)
    bands = split_bands(x, num_bands=3)[0]
    estimates = torch.stack(
        [
            (
                bands
                * run(
                    multilinear,
                    x,
                    None,
                    seed,
                    suppress=(0, 1),
                    absolute=False,
                    n_samples=200,
                    internal_batch_size=200,
                    **BANDS,
                )
            )
            .flatten(1)
            .sum(1)
            for seed in range(20)
        ]
    )
    sigma = estimates.std(0) / 20**0.5
    assert bool(((estimates.mean(0) - expected[0]).abs() < 4 * sigma + 1e-9).all())
    assert sigma.max() < 0.05 * expected.abs().max()


# ------------------------------------------------------------------------------- confidence


def confidence(model, target=TARGETS, x=X):
    rows = torch.arange(len(x))
    return model(x).detach().softmax(1)[rows, torch.as_tensor(target).expand(len(x))]


class TestConfidence:
    @pytest.mark.parametrize("target", [TARGETS, torch.tensor(TARGETS), 2, torch.tensor([2])])
    @pytest.mark.parametrize("way", WAYS)
    def test_without_suppression_it_is_the_models_own(self, way, target):
        model = tiny_cnn(2)
        _, own = run(model, target=target, suppress=0, return_confidence=True, **way)
        torch.testing.assert_close(own, confidence(model, target), **FULL_PRECISION)

    @pytest.mark.parametrize("size", [None, 1, 4])
    @pytest.mark.parametrize("way", WAYS)
    def test_it_is_the_mean_over_the_samples_of_the_same_generator(self, way, size):
        model = Counting(tiny_cnn(2))
        z, error, mean = run(
            model,
            return_confidence=True,
            return_standard_error=True,
            internal_batch_size=size,
            **way,
        )
        assert model.rows == 6 * 3  # no more than without
        of_samples = [confidence(model.model, x=x) for x in samples_of(tiny_cnn(2), **way)]
        torch.testing.assert_close(mean, torch.stack(of_samples).mean(0), **FULL_PRECISION)
        without = run(tiny_cnn(2), return_standard_error=True, **way)
        for a, b in zip((z, error), without, strict=True):
            torch.testing.assert_close(a, b, **FULL_PRECISION)

    def test_a_batch_equals_its_examples_one_at_a_time(self):
        _, together = run(tiny_cnn(2), return_confidence=True)
        for e in range(3):
            _, alone = run(tiny_cnn(2), X[e : e + 1], TARGETS[e], return_confidence=True)
            torch.testing.assert_close(together[e : e + 1], alone, **FULL_PRECISION)

    def test_logits_of_half_precision_are_not_rounded_again(self):
        (_, half), (_, double) = (
            run(tiny_cnn(2, dtype=d), X.to(d), return_confidence=True)
            for d in (torch.bfloat16, torch.float64)
        )
        assert half.dtype == torch.float32
        torch.testing.assert_close(half.double(), double, rtol=0.05, atol=0)

    @pytest.mark.parametrize(
        ("target", "got"),
        [
            (None, "None"),
            ((1, 2), r"\(1, 2\)"),
            ([(0, 1), (3, 4), (2, 0)], r"\[\(0, 1\)"),
            (torch.rand(3), r"tensor\("),
            (torch.zeros(3, 2).long(), r"tensor\("),
        ],
    )
    def test_it_needs_a_class_per_example(self, target, got):
        model = Counting(tiny_cnn(2))
        with pytest.raises(TypeError, match=f"one class per example.* got {got}"):
            run(model, target=target, return_confidence=True)
        assert model.calls == 0

    @pytest.mark.parametrize(
        ("forward", "got"),
        [
            (lambda x: x.flatten(1)[:, :1], r"\(3, 1\) for 3 rows"),
            (lambda x: x.flatten(1).sum(0, keepdim=True), r"\(1, 240\) for 3 rows"),
        ],
    )
    def test_it_needs_the_outputs_of_classes(self, forward, got):
        with pytest.raises(
            ValueError, match=f"return_confidence needs .* classes.*got torch.float64 {got}"
        ):
            run(forward, target=0, return_confidence=True)

    def test_infinite_logits_are_refused(self):
        def forward(x):
            sums = x.flatten(1).sum(1, keepdim=True)
            return torch.cat([sums, torch.full_like(sums, torch.inf)], 1)

        with pytest.raises(ValueError, match=r"the confidence of forward_func is not finite .* 0"):
            run(forward, target=0, return_confidence=True)


# ------------------------------------------------------------------------------- Captum's forms


@pytest.mark.parametrize("way", [{}, BANDS])
@pytest.mark.parametrize("size", [None, 4])
def test_tuples_of_inputs(way, size):
    inputs = (X, torch.rand(3, 9, generator=seeded(), dtype=torch.float64) + 1)
    model = Quadratic((2, 10, 12), (9,))
    if way:
        inputs, model = (X, X[..., :9]), Quadratic((2, 10, 12), (2, 10, 9))
    recording = Recording(model)
    z, error = run(
        recording,
        inputs,
        [2, 0, 1],
        baselines=(X.flip(0), 0.1),
        internal_batch_size=size,
        return_standard_error=True,
        absolute=False,
        **way,
    )
    assert isinstance(z, tuple)
    assert isinstance(error, tuple)
    samples = [torch.cat(rows).requires_grad_() for rows in zip(*recording.seen, strict=True)]
    output = model(*samples)[torch.arange(18), [2, 0, 1] * 6].sum()
    for ours, gradients in zip(z, torch.autograd.grad(output, samples), strict=True):
        mean = gradients.unflatten(0, (6, 3)).mean(0)
        torch.testing.assert_close(ours, mean, **FULL_PRECISION)


def test_one_id_in_two_tensors_is_one_feature():
    inputs = (X[..., 0], X[..., 1])
    recording = Recording(Quadratic((2, 10), (2, 10)))
    rows = torch.arange(10)
    run(recording, inputs, 0, feature_mask=(rows, rows), suppress=0.5)
    for one, other in recording.seen:
        assert torch.equal(one == 0, other == 0)
    recording.seen.clear()
    run(recording, inputs, 0, suppress=0.5)
    assert any(not torch.equal(one == 0, other == 0) for one, other in recording.seen)


def test_a_tuple_of_one_and_the_positional_call():
    (z,) = run(tiny_cnn(2), (X,), feature_mask=(BLOCKS,))
    assert torch.equal(z, run(tiny_cnn(2), feature_mask=BLOCKS))
    assert z.is_contiguous()
    assert FeatureSuppression(tiny_cnn(2)).attribute(X, torch.tensor(TARGETS)).shape == X.shape


@pytest.mark.parametrize("size", [None, 2])
def test_targets_and_additional_arguments_follow_their_example(size):
    body = tiny_cnn(2, 20)

    def model(x, scale, table, power=1):
        assert table.shape == (7,)
        return (body(x) * scale[:, None] ** power + table.sum()).reshape(-1, 4, 5)

    args = (torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), torch.arange(7.0), 2)
    tuples = [(0, 1), (3, 4), (2, 0)]
    arguments = {"additional_forward_args": args, "internal_batch_size": size, "absolute": False}
    z = run(model, target=tuples, **arguments)
    for e, (i, j) in enumerate(tuples):
        plain = run(body, X[e : e + 1], 5 * i + j, absolute=False)
        torch.testing.assert_close(z[e : e + 1], (e + 1) ** 2 * plain, **FULL_PRECISION)
    for target in (2, torch.tensor([2]), [2, 2, 2]):
        assert torch.equal(run(body, target=target), run(body, target=torch.tensor([2, 2, 2])))


def test_one_number_per_batch_is_differentiated_as_a_whole():
    model = tiny_cnn(2)
    z = run(lambda x: model(x)[:, 1].sum(), target=None)
    torch.testing.assert_close(z, run(model, target=1), **FULL_PRECISION)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_dtypes(dtype, expected, way):
    recording = Recording(tiny_cnn(2, dtype=dtype))
    z, error = run(recording, X.to(dtype), return_standard_error=True, **way)
    assert z.dtype == error.dtype == expected
    assert recording.seen[0][0].dtype == dtype
    accurate = run(tiny_cnn(2).to(dtype).double(), X.to(dtype).double(), **way)
    assert (z - accurate).norm() < 0.05 * accurate.norm()


def test_signals_without_a_second_spatial_dim():
    x = X[:, 0].reshape(3, 120)
    model = Quadratic((120,))
    assert run(model, x, 0).shape == x.shape
    z = run(model, x[:, None], 0, domain="frequency", spectral_dims=-1, num_bands=5)
    assert z.shape == (3, 1, 120)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left_changed(way):
    model = tiny_cnn(2)
    parameters = [p.clone() for p in model.parameters()]
    x = X.clone().requires_grad_()
    z = run(model, x, **way)
    assert not z.requires_grad
    assert x.grad is None
    assert x.requires_grad
    assert torch.equal(x, X)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(map(torch.equal, model.parameters(), parameters))
    assert not any(m.training for m in model.modules())
    assert not any(
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules()
    )


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("way", WAYS)
def test_it_works_where_gradients_are_switched_off(mode, way):
    expected = run(tiny_cnn(2), **way)
    model = tiny_cnn(2)
    with mode():
        z = run(model, X.clone(), **way)
    assert torch.equal(z, expected)


@pytest.mark.parametrize("nt_type", ["smoothgrad", "smoothgrad_sq", "vargrad"])
@pytest.mark.parametrize("way", WAYS)
def test_noise_tunnel(nt_type, way):
    z = NoiseTunnel(FeatureSuppression(tiny_cnn(2))).attribute(
        X,
        nt_type=nt_type,
        nt_samples=2,
        stdevs=0.1,
        target=TARGETS,
        baselines=X.flip(0),
        n_samples=3,
        **way,
    )
    assert z.shape == X.shape
    assert bool((z > 0).any())


def test_the_progress_bar_counts_rows_and_ends_at_100_percent():
    with redirect_stderr(io.StringIO()) as shown:
        run(tiny_cnn(2), internal_batch_size=4, show_progress=True)
    last = shown.getvalue().strip().split("\r")[-1]
    assert last.startswith("Feature Suppression attribution: 100%")
    assert "18/18" in last


def test_small_print():
    explainer = FeatureSuppression(tiny_cnn(2))
    assert isinstance(explainer, GradientAttribution)
    assert explainer.multiplies_by_inputs is False
    assert explainer.has_convergence_delta() is False
    assert hasattr(explainer.attribute, "__wrapped__")
    assert list(inspect.signature(FeatureSuppression).parameters) == ["forward_func"]
    with pytest.raises(NotImplementedError, match="not implemented for FeatureSuppression"):
        explainer.attribute_future()


# ------------------------------------------------------------------------------- bad input

NAN = X.clone()
NAN[1, 0, 3, 4:6] = float("nan")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"inputs": X.long()}, TypeError, r"inputs must be a real floating .*int64.*\.float\(\)"),
        ({"inputs": NAN}, ValueError, "inputs must be finite: example 1 holds 2 NaN"),
        ({"suppress": -0.1}, ValueError, r"suppress is the prob.* must lie in \[0, 1\].*got -0.1"),
        ({"suppress": 1.5}, ValueError, r"must lie in \[0, 1\].* got 1.5"),
        ({"suppress": float("nan")}, ValueError, r"must lie in \[0, 1\].* got nan"),
        ({"suppress": (0.9, 0.1)}, ValueError, r"with lo <= hi; got \(0.9, 0.1\)"),
        ({"suppress": (0.5, 1.1)}, ValueError, r"got \(0.5, 1.1\)"),
        ({"suppress": (0.1, 0.2, 0.3)}, TypeError, r"a number or a pair \(lo, hi\), got \(0.1, 0."),
        ({"suppress": "most"}, TypeError, r"a number or a pair \(lo, hi\), got 'most'"),
        ({"suppress": True}, TypeError, "got True"),
        ({"n_samples": 0}, ValueError, "n_samples must be at least 1, got 0"),
        ({"n_samples": None}, TypeError, "n_samples must be an integer, got None"),
        ({"n_samples": 2.5}, TypeError, "n_samples must be an integer .*got 2.5"),
        ({"n_samples": 1, "return_standard_error": True}, ValueError, "needs n_samples >= 2"),
        ({"internal_batch_size": 0}, ValueError, "internal_batch_size must be at least 1, got 0"),
        ({"internal_batch_size": "8"}, TypeError, "internal_batch_size must be an integer or None"),
        ({"domain": "fourier"}, ValueError, "'pixel' or 'frequency', got 'fourier'"),
        ({"num_bands": 4}, ValueError, "num_bands=4 is for .* add domain='frequency'"),
        ({"spectral_dims": (-1,)}, ValueError, r"spectral_dims=\(-1,\) is for .*frequency bands"),
        ({"feature_mask": BLOCKS.float()}, TypeError, "integer ids of pixel groups, got .*float32"),
        ({"feature_mask": BLOCKS > 2}, TypeError, r"got dtype torch.bool; use mask.long\(\)"),
        ({"feature_mask": [[0]]}, TypeError, "feature_mask must be a torch.Tensor, got list"),
        (
            {"feature_mask": BLOCKS[:5]},
            ValueError,
            r"feature_mask of shape \(5, 12\) does not broadcast to the input of shape \(3, 2, 10",
        ),
        ({"feature_mask": torch.zeros(0).long()}, ValueError, r"shape \(0,\) does not broadcast"),
        ({"feature_mask": BLOCKS - 1}, ValueError, "holds the negative id -1"),
        ({"feature_mask": (BLOCKS,) * 2}, ValueError, "one mask per input: got 2 for 1 inputs"),
        ({"domain": "frequency", "num_bands": 6}, ValueError, "at most num_bands=5 fits"),
        (
            {"domain": "frequency", "feature_mask": BLOCKS},
            ValueError,
            "feature_mask must give a frequency and its negative the same band",
        ),
        ({"baselines": X[:2]}, ValueError, r"baselines of shape \(2, 2, 10, 12\) must have the sh"),
        ({"baselines": float("nan")}, ValueError, "baselines must be finite, baseline 0 holds NaN"),
        ({"baselines": "zero"}, TypeError, "must be None, a number or a tensor, got str"),
        ({"target": [0, 1]}, ValueError, "target has 2 entries for 3 examples"),
    ],
)
def test_before_any_forward_pass(arguments, error, message):
    model = Counting(tiny_cnn(2))
    with pytest.raises(error, match=message):
        FeatureSuppression(model).attribute(**{"inputs": X, "target": 0, **arguments})
    assert model.calls == 0


@pytest.mark.parametrize(
    ("forward", "arguments", "error", "message"),
    [
        (
            lambda x: x.detach().flatten(1),
            {},
            ValueError,
            "no gradient with respect to inputs: .*d",
        ),
        (lambda x: x.flatten(1).argmax(1), {"target": None}, ValueError, "no gradient .*argmax"),
        (lambda x: x.detach().sum().item(), {"target": None}, ValueError, r"no grad.*\.item\(\)"),
        (
            lambda x, w: x.detach().flatten(1) * w,
            {"additional_forward_args": torch.ones(1, requires_grad=True)},
            ValueError,
            "no gradient with respect to inputs",
        ),
        (
            lambda x, y: x.flatten(1) + y.detach().flatten(1),
            {"inputs": (X, X)},
            ValueError,
            r"no gradient with respect to inputs\[1\]",
        ),
        (
            lambda x: x.flatten(1),
            {"target": None},
            ValueError,
            r"gives shape \(3, 240\) at target=None; a gradient needs one number per example",
        ),
        (
            lambda x: x.flatten(1),
            {"target": 500},
            ValueError,
            r"target 500 does not exist.*239",
        ),
        (lambda x: x.sum(), {"target": 0}, ValueError, "target=0 cannot be selected"),
        (
            lambda x: x.sum(),
            {"target": None, "internal_batch_size": 2},
            ValueError,
            "one number for 2 of the rows; use internal_batch_size=None",
        ),
        (
            lambda x: x.sum(),
            {"target": None, "internal_batch_size": 1},
            ValueError,
            "internal_batch_size needs a forward_func with one output per row",
        ),
        (
            lambda x: x.flatten(1).sum(1)[:2],
            {"target": None},
            ValueError,
            r"gives shape \(2,\) for 3 rows; dim 0 of its output must grow with the batch",
        ),
        (lambda x: "cat", {"target": None}, TypeError, "a tensor of real numbers or a number, got"),
        (lambda x: x.flatten(1) * 1j, {}, TypeError, "got torch.complex64|got torch.complex128"),
        (
            lambda x: x.flatten(1)[:, :5].sqrt().sum(1),
            {"target": None},
            ValueError,
            "the gradient of forward_func is not finite .* example 0, .*Give other baselines",
        ),
    ],
)
def test_forward_outputs_that_cannot_be_used(forward, arguments, error, message):
    arguments = {"inputs": X, "target": 0, "n_samples": 3, **arguments}
    with pytest.raises(error, match=message):
        FeatureSuppression(forward).attribute(generator=seeded(), **arguments)


def test_a_bad_tuple_target_is_captums_assertion():
    with pytest.raises(AssertionError, match="Cannot choose target column"):
        run(tiny_cnn(2), target=(0, 1, 2))


def test_a_model_in_training_mode_warns_and_stays_as_it_is():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(240, 5)).double()
    with pytest.warns(UserWarning, match=r"training mode.*call \.eval\(\) first") as caught:
        run(model)
    assert model.training
    assert caught[0].filename == __file__


def test_an_exception_of_the_model_leaves_nothing_behind():
    model = tiny_cnn(2)
    calls = []

    def fragile(x: Tensor) -> Tensor:
        calls.append(len(x))
        if len(calls) == 3:
            raise KeyError("stop")
        return model(x)

    with pytest.raises(KeyError, match="stop"):
        run(fragile)
    assert torch.is_grad_enabled()
    assert all(p.grad is None for p in model.parameters())
