"""SpectralImportance with other players than bands, and tables of classes."""

import math
from itertools import combinations

import pytest
import torch
from helpers import brute_force, tiny_cnn
from importance_cases import Recording, batches_of, images_and_labels

from captum_spectral import ImportanceResult, SpectralImportance
from captum_spectral.features import (
    DCT,
    FourierBands,
    LumaChromaBands,
    Pixels,
    Sectors,
    Wavelets,
    zigzag_mask,
)
from captum_spectral.features.features import split
from captum_spectral.importance import class_table

MEMBERS = {
    "sectors": Sectors(2, 2),
    "wavelets": Wavelets(levels=1),
    "dct": DCT(num_bands=3),
    "blocks": DCT(zigzag_mask(edges=[1, 3]), block_size=8),
    "colour": LumaChromaBands(num_bands=2, num_chroma_bands=1),
    "pixels": Pixels((torch.arange(10) // 4)[None, None, None]),
}


def of_parts(model, images, labels, member):
    """(B, M) values by the textbook sum over coalitions of parts."""
    ids = member.ids(images)
    count = int(ids.max()) + 1
    parts = split(member, images, ids, torch.arange(count))

    def value(members):
        x = parts[:, list(members)].sum(1)
        with torch.no_grad():
            return model(x).log_softmax(1).gather(1, labels[:, None])[:, 0]

    phi = torch.zeros(len(images), count, dtype=torch.float64)
    for i in range(count):
        others = [j for j in range(count) if j != i]
        for size in range(count):
            for s in combinations(others, size):
                phi[:, i] += (value((*s, i)) - value(s)) / (count * math.comb(count - 1, size))
    return phi


def measured(features, images, labels, **options):
    importance = SpectralImportance(tiny_cnn(), features=features, **options)
    return importance.evaluate(batches_of(images, labels, 3), show_progress=False)


@pytest.mark.parametrize("kind", MEMBERS)
def test_the_mean_over_images_for_any_features(kind):
    images, labels = images_and_labels(5)
    member = MEMBERS[kind]
    options = {"num_bands": 3} if kind == "pixels" else {}
    result = measured(member, images, labels, **options)
    expected = of_parts(tiny_cnn(), images, labels, member)
    torch.testing.assert_close(result.attributions, expected.mean(0), atol=1e-10, rtol=0)
    error = expected.std(0) / math.sqrt(len(images))
    torch.testing.assert_close(result.standard_error, error, atol=1e-10, rtol=0)
    assert abs(result.efficiency_gap) < 1e-12
    assert result.frequencies is None
    assert result.num_rows == 5 * 2 ** expected.shape[1]


def test_sectors_as_features_are_those_of_their_mask():
    images, labels = images_and_labels(3)
    sectors = Sectors(2, 2)
    mask = sectors.mask(images.shape[-2:])
    by_features = measured(sectors, images, labels).attributions
    by_mask = SpectralImportance(tiny_cnn(), feature_mask=mask)
    by_mask.update(images, labels)
    torch.testing.assert_close(by_features, by_mask.compute().attributions, rtol=1e-12, atol=0)
    expected = brute_force(
        lambda x: tiny_cnn()(x).log_softmax(1), (images,), (mask,), (torch.zeros_like(images),),
        labels.tolist(),
    ).mean(0)  # fmt: skip
    torch.testing.assert_close(by_features, expected, rtol=0, atol=1e-10)


def test_many_players_are_sampled_and_classes_sum_to_the_whole():
    images, labels = images_and_labels(6, classes=2)
    result = measured(DCT(block_size=8), images, labels, n_samples=1, num_classes=5)
    assert result.attributions.shape == (64,)
    table = class_table(result)
    assert table.classes == tuple(labels.unique().tolist())
    assert table.num_examples == tuple(labels.bincount()[labels.unique()].tolist())
    weights = torch.tensor(table.num_examples, dtype=torch.float64) / 6
    torch.testing.assert_close(weights @ table.values, result.attributions)
    assert table.names[9] == "(1, 1)"


def test_a_row_of_the_table_is_the_result_of_the_images_of_its_class():
    images, labels = images_and_labels(8, classes=3)
    table = class_table(measured(Wavelets(levels=1), images, labels, num_classes=3))
    for row, number in enumerate(table.classes):
        own = labels == number
        expected = of_parts(tiny_cnn(), images[own], labels[own], Wavelets(levels=1))
        torch.testing.assert_close(table.values[row], expected.mean(0), atol=1e-10, rtol=0)
        error = expected.std(0) / math.sqrt(len(expected))
        torch.testing.assert_close(
            table.standard_error[row], error, atol=1e-10, rtol=0, equal_nan=True
        )


def test_a_result_without_classes_has_no_table():
    images, labels = images_and_labels(2)
    with pytest.raises(ValueError, match="no classes; use SpectralImportance"):
        class_table(measured(Wavelets(levels=1), images, labels))


def test_names_are_told_and_survive_json_and_no_scores_are_made():
    images, labels = images_and_labels(3)
    result = measured(Wavelets(levels=1), images, labels, num_classes=5)
    assert result.names == (
        "approximation", "level 1 horizontal", "level 1 vertical", "level 1 diagonal",
    )  # fmt: skip
    again = ImportanceResult.from_json(result.to_json())
    assert again == result
    assert again.names == result.names
    assert "score" not in result.to_dict()
    assert "level 1 vertical" in repr(result)
    assert "score" not in repr(result)
    old = {key: value for key, value in result.to_dict().items() if key != "names"}
    assert ImportanceResult.from_dict(old).names is None
    with pytest.raises(ValueError, match="names must be those of 4 features, got 1"):
        ImportanceResult.from_dict(result.to_dict() | {"names": ["a"]})


def test_a_saved_state_goes_on_in_another_metric():
    images, labels = images_and_labels(6)
    first, second = (SpectralImportance(tiny_cnn(), features=Sectors(2, 2)) for _ in range(2))
    first.update(images[:3], labels[:3])
    second.load_state_dict(first.state_dict())
    second.update(images[3:], labels[3:])
    torch.testing.assert_close(
        second.compute().attributions, measured(Sectors(2, 2), images, labels).attributions
    )


@pytest.mark.parametrize("kind", ["wavelets", "colour"])
def test_noise_has_the_energy_of_the_image_in_every_part(kind):
    images, labels = images_and_labels(2)
    model, member = Recording(tiny_cnn()), MEMBERS[kind]
    importance = SpectralImportance(
        model, features=member, baselines="noise", perturbations_per_eval=1
    )
    importance.update(images, labels)
    ids = member.ids(images)
    own, used = (
        split(member, x, ids, torch.arange(int(ids.max()) + 1)).square().flatten(2).sum(2)
        for x in (images, model.shown[0])  # the empty coalition comes first
    )
    torch.testing.assert_close(used, own)
    assert (model.shown[0] - images).abs().mean() > 0.1


def test_small_images_have_as_many_players_as_fit():
    images, labels = images_and_labels(2, size=(4, 5))
    importance = SpectralImportance(tiny_cnn(), features=Sectors(), n_samples=1)
    importance.update(images, labels)
    result = importance.compute()
    assert len(result.attributions) == len(result.names) == len(Sectors().geometry((4, 5))) < 12
    with pytest.raises(ValueError, match=r"12 bands fit these images, and . fitted those before"):
        importance.update(*images_and_labels(2, size=(24, 24)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"features": "sectors"}, TypeError, "features must be .* such as Sectors.* got str"),
        (
            {"features": Sectors(), "feature_mask": torch.zeros(8, 10).long()},
            ValueError,
            "features and feature_mask both",
        ),
        (
            {"features": Pixels(), "n_samples": 1},
            ValueError,
            "Pixels does not say how many .* num_bands",
        ),
        ({"features": DCT(block_size=8)}, ValueError, "n_samples"),
    ],
)
def test_bad_features_are_named(options, error, message):
    with pytest.raises(error, match=message):
        SpectralImportance(lambda x: 1 / 0, **options)


def test_more_players_than_there_is_room_for_are_refused_before_the_model_runs():
    class Rings(FourierBands):  # says what is not so
        num_features = 2

        def ids(self, inputs):
            return FourierBands(num_bands=3).ids(inputs)

    importance = SpectralImportance(lambda x: 1 / 0, features=Rings())
    with pytest.raises(ValueError, match=r"3 features, and there is room for 2.*num_bands=3"):
        importance.update(*images_and_labels(2))
