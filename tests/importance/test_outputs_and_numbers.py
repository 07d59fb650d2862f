"""Outputs, labels and numbers as they come: a right value, or an error that says what to give."""

import numpy as np
import pytest
import torch
from helpers import tiny_cnn
from importance_cases import images_and_labels
from torch import nn

from captum_spectral import ImportanceResult, SpectralImportance, band_frequencies, band_mask
from captum_spectral.importance import signed_spectral_score, spectral_score
from captum_spectral.importance.moments import add_records, empty_moments, merge, statistics

IMAGES, LABELS = images_and_labels(6, (16, 12))


def result_of(model, labels=LABELS, images=IMAGES, **options):
    metric = SpectralImportance(model, **options)
    metric.update(images, labels)
    return metric.compute()


class Two(nn.Module):
    """The two logits whose softmax is the sigmoid of one."""

    def __init__(self, one):
        super().__init__()
        self.one = one
        self.eval()

    def forward(self, x):
        z = self.one(x)
        return torch.cat([torch.zeros_like(z), z], 1)


class TestOneLogit:
    ONE = tiny_cnn(num_classes=1)

    @pytest.mark.parametrize("labels", [LABELS % 2, None])
    def test_is_a_classifier_of_two_classes(self, labels):
        found, known = (result_of(m, labels, num_bands=3) for m in (self.ONE, Two(self.ONE)))
        torch.testing.assert_close(found.attributions, known.attributions)
        assert found.full_value == pytest.approx(known.full_value)
        assert found.accuracy == known.accuracy

    def test_its_logit_is_the_log_odds_of_the_label(self):
        for label, sign in ((1, 1), (0, -1)):
            labels = torch.full((6,), label)
            found = result_of(self.ONE, labels, value="logit", num_bands=3)
            with torch.no_grad():
                assert found.full_value == pytest.approx(sign * float(self.ONE(IMAGES).mean()))

    def test_has_no_third_class(self):
        with pytest.raises(ValueError, match="labels reach 2, but forward_func returns 2 outputs"):
            result_of(self.ONE, torch.tensor([0, 1, 2, 0, 1, 2]))


class TestProbabilities:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
    def test_are_recognised(self, dtype):
        model = nn.Sequential(tiny_cnn(), nn.Softmax(1)).eval().to(dtype)
        with pytest.raises(ValueError, match=r"returns probabilities .* leave its softmax out"):
            result_of(model, images=IMAGES.to(dtype))

    def test_the_advice_gives_the_log_likelihood(self):
        model = nn.Sequential(tiny_cnn(), nn.Softmax(1)).eval()
        advised = result_of(model, value=lambda p, y: p.gather(1, y[:, None])[:, 0].log())
        torch.testing.assert_close(advised.attributions, result_of(tiny_cnn()).attributions)

    def test_have_no_logit_either(self):
        model = nn.Sequential(tiny_cnn(), nn.Softmax(1)).eval()
        with pytest.raises(ValueError, match=r"value='logit' takes logits, .* probabilities"):
            result_of(model, value="logit")

    def test_of_a_softmax_over_one_output_are_not_all_zero_in_silence(self):
        model = nn.Sequential(tiny_cnn(num_classes=1), nn.Softmax(1)).eval()
        with pytest.raises(ValueError, match="returns probabilities"):
            result_of(model, LABELS % 2)

    @pytest.mark.parametrize("classes", [1, 5])
    @pytest.mark.parametrize(
        "last",
        [nn.Sigmoid, lambda: lambda y: {"logits": y.sigmoid()[:, :, None, None].flatten(1)}],
        ids=["module", "function"],
    )
    def test_of_a_sigmoid_are_recognised(self, classes, last):
        network, last = tiny_cnn(num_classes=classes), last()
        with pytest.raises(ValueError, match=r"ends in a sigmoid, .* are probabilities"):
            result_of(lambda x: last(network(x)), LABELS.clamp(max=1))

    def test_that_may_be_of_a_sigmoid_are_warned_about_once(self):
        network = tiny_cnn(num_classes=1)
        with pytest.warns(UserWarning, match="lie from 0 to 1 so far: if they are prob") as warned:
            result_of(lambda x: network(x).sigmoid().numpy(), LABELS % 2, num_bands=3)
        assert len(warned) == 1

    def test_log_probabilities_are_logits(self):
        model = nn.Sequential(tiny_cnn(), nn.LogSoftmax(1)).eval()
        torch.testing.assert_close(
            result_of(model).attributions, result_of(tiny_cnn()).attributions
        )


@pytest.mark.parametrize(
    "labels",
    [
        LABELS.to(torch.uint8),
        LABELS.to(torch.uint16),
        LABELS.numpy().astype(np.uint16),
        LABELS.tolist(),
    ],
)
def test_labels_of_any_integers(labels):
    assert result_of(tiny_cnn(), labels) == result_of(tiny_cnn())


def test_settings_of_numpy():
    options = {"num_bands": np.int64(3), "n_samples": np.uint8(1), "seed": np.uint32(7)}
    options["tolerance"] = np.float32(0.5)
    assert result_of(tiny_cnn(), **options) == result_of(
        tiny_cnn(), num_bands=3, n_samples=1, seed=7
    )


@pytest.mark.parametrize("seed", [2**31, 2**63, 2**64 + 3, 2**200])
def test_seeds_of_any_size(seed):
    assert result_of(tiny_cnn(), n_samples=1, seed=seed).num_rows == 6 * 16
    assert result_of(tiny_cnn(), n_samples=1, seed=seed) != result_of(tiny_cnn(), n_samples=1)


@pytest.mark.parametrize(("size", "fit"), [((8, 8), 5), ((6, 5), 5), ((2, 2), 2), ((1, 3), 2)])
def test_small_images_have_as_many_bands_as_fit(size, fit):
    images = torch.rand(4, 3, *size, dtype=torch.float64)
    metric = SpectralImportance(tiny_cnn(), num_classes=5)
    metric.update(images, torch.tensor([0, 1, 2, 3]))
    result = metric.compute()
    assert result.attributions.shape == (fit,)
    assert result.frequencies.shape == (fit, 2)
    given = SpectralImportance(tiny_cnn(), num_bands=fit, num_classes=5)
    given.update(images, torch.tensor([0, 1, 2, 3]))
    assert result == given.compute()
    loaded = SpectralImportance(tiny_cnn(), num_classes=5)
    loaded.load_state_dict(metric.state_dict())
    assert loaded.compute().attributions.shape == (fit,)
    with pytest.raises(ValueError, match=f"8 bands fit these images, and {fit} fitted"):
        metric.update(torch.rand(2, 3, 32, 32).double(), torch.tensor([0, 1]))


@pytest.mark.parametrize("form", ["channels last", "its own rank", "plane"])
def test_frequencies_are_those_of_the_dims_that_are_transformed(form):
    mask = band_mask((16, 12), 3)
    images = IMAGES.movedim(1, -1)

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = tiny_cnn()
            self.eval()

        def forward(self, x):
            return self.body(x.movedim(-1, 1))

    given = {"channels last": mask[..., None], "its own rank": mask[None, ..., None], "plane": mask}
    result = result_of(
        Last(), images=images, feature_mask=given[form], spectral_dims=(1, 2), n_samples=1
    )
    assert torch.equal(result.frequencies, band_frequencies(mask))
    plain = result_of(tiny_cnn(), feature_mask=mask, n_samples=None)
    exact = result_of(Last(), images=images, feature_mask=given[form], spectral_dims=(1, 2))
    torch.testing.assert_close(exact.attributions, plain.attributions)


def test_a_mask_with_gaps_costs_its_players():
    mask = band_mask((16, 12), 2) * 100
    with pytest.warns(UserWarning, match="missing 99"):
        assert result_of(tiny_cnn(), feature_mask=mask).num_rows == 6 * 4


# ------------------------------------------------------------------------------- statistics


@pytest.mark.parametrize("common", [0.0, 1e5, 1e9])
@pytest.mark.parametrize("cut", [1, 7, 500])
def test_errors_keep_their_digits_where_values_are_large(common, cut):
    generator = torch.Generator().manual_seed(0)
    records = torch.rand(500, 9, generator=generator, dtype=torch.float64) * 1e-2
    records[:, 0] = 1
    records[:, 4:] += common
    parts = [
        add_records(empty_moments(3), part, torch.zeros(len(part), dtype=torch.int64))[0]
        for part in records.split(cut)
    ]
    found = statistics(merge(torch.stack(parts)))
    bands = records[:, 6:]
    torch.testing.assert_close(found.attributions, bands.mean(0), rtol=1e-13, atol=0)
    exact = torch.cov((bands - bands.mean(0)).T) / 500
    # The values themselves have no more digits than that.
    rtol = {0.0: 1e-10, 1e5: 1e-6, 1e9: 1e-3}[common]
    torch.testing.assert_close(found.covariance, exact, rtol=rtol, atol=rtol * float(exact.max()))


@pytest.mark.parametrize(
    ("name", "score"), [("score", spectral_score), ("signed_score", signed_spectral_score)]
)
@pytest.mark.parametrize(
    "true", [[0.5] + 7 * [0.0], [0.5] + 7 * [0.05], [2, 1.5, 1, 0.8, 0.6, 0.5, 0.4, 0.3]]
)
def test_intervals_of_scores_cover(name, score, true):
    true = torch.tensor(true, dtype=torch.float64)
    generator, known, covered = torch.Generator().manual_seed(0), float(score(true)), 0
    for _ in range(16):
        noise = torch.randn(8, generator=generator, dtype=torch.float64)
        seen = ImportanceResult(true + 0.05 * noise, 0.0025 * torch.eye(8), 0, 0, 10, 10)
        estimate = getattr(seen, name)()
        assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9
        covered += estimate.low - 1e-9 <= known <= estimate.high + 1e-9
    assert covered >= 14  # 15 of 16 on average, more where bands are doubtful


def test_a_score_of_noise_is_not_given_without_an_error():
    phi = torch.tensor([-2e-4, -2e-4, -2e-4, 6e-4], dtype=torch.float64)
    error = torch.tensor([4e-4, 4e-4, 4e-4, 5e-4], dtype=torch.float64)
    estimate = ImportanceResult(phi, torch.diag(error**2), -0.69, -0.69, 8, 64).signed_score()
    assert estimate.standard_error > 0.3
    assert estimate.low < -0.5 < 0.5 < estimate.high


class TestLabelsOfAnyKind:
    """With a value of one's own."""

    OPTIONS = {"num_bands": 3}

    @pytest.mark.parametrize(
        "labels",
        [LABELS.double(), LABELS.tolist(), LABELS[:, None].expand(6, 2), LABELS.numpy() - 3],
        ids=["floats", "list", "several", "negative"],
    )
    def test_reach_the_value_row_by_row(self, labels):
        kept = torch.as_tensor(labels)

        def value(outputs, y):
            assert y.shape[1:] == kept.shape[1:]
            assert y.dtype == kept.dtype
            return outputs[:, 0] * y.reshape(len(y), -1)[:, 0]

        found = result_of(tiny_cnn(), labels, value=value, **self.OPTIONS)
        oracle = torch.stack(
            [
                result_of(
                    tiny_cnn(),
                    [0],
                    IMAGES[i : i + 1],
                    value=lambda outputs, y: outputs[:, 0],
                    **self.OPTIONS,
                ).attributions
                * float(kept[i].flatten()[0])
                for i in range(6)
            ]
        ).mean(0)
        torch.testing.assert_close(found.attributions, oracle)
        classes = kept.dim() == 1 and not kept.is_floating_point() and bool((kept >= 0).all())
        assert (found.accuracy is not None) == classes

    def test_are_several_per_image(self):
        many = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)).double().round()
        loss = nn.functional.binary_cross_entropy_with_logits
        found = result_of(
            tiny_cnn(),
            many,
            value=lambda z, y: -loss(z, y, reduction="none").sum(1),
            **self.OPTIONS,
        )
        with torch.no_grad():
            full = -loss(tiny_cnn()(IMAGES), many, reduction="none").sum(1).mean()
        assert found.full_value == pytest.approx(float(full))

    def test_are_masks_of_a_segmentation_that_returns_a_dict(self):
        torch.manual_seed(0)
        convolution = nn.Conv2d(3, 4, 3, padding=1).double().eval()
        masks = torch.randint(4, (6, 16, 12))

        def value(returned, mask):
            return -nn.functional.cross_entropy(returned["out"], mask, reduction="none").mean(
                (1, 2)
            )

        found = result_of(lambda x: {"out": convolution(x)}, masks, value=value, **self.OPTIONS)
        with torch.no_grad():
            full = -nn.functional.cross_entropy(convolution(IMAGES), masks)
        assert found.full_value == pytest.approx(float(full))

    def test_are_refused_without_one_and_with_classes_kept_apart(self):
        for options in ({}, {"value": lambda z, y: z[:, 0], "num_classes": 5}):
            with pytest.raises(TypeError, match=r"labels must be integers.*a value=function of"):
                result_of(tiny_cnn(), LABELS.double(), **options)

    def test_are_one_entry_per_image(self):
        for labels in (torch.rand(5), torch.tensor(1.0)):
            with pytest.raises(ValueError, match="one entry for each of 6 images, got shape"):
                result_of(tiny_cnn(), labels, value=lambda z, y: z[:, 0])
        with pytest.raises(TypeError, match="labels must be a tensor with one entry per image"):
            result_of(tiny_cnn(), [{}] * 6, value=lambda z, y: z[:, 0])


def test_the_output_that_is_meant_is_chosen():
    found = result_of(lambda x: {"scores": tiny_cnn()(x), "features": x}, output="scores")
    assert found == result_of(tiny_cnn())
