"""The members of the family, by the shared case; and players of several inputs."""

import pytest
import torch
from captum.attr import ShapleyValues
from features_case import FeaturesCase, close, normal, shapes
from helpers import Quadratic, tiny_cnn

from captum_spectral import BandGame, Game, SpectralShapley, band_mask
from captum_spectral._engine.rows import Tile
from captum_spectral._engine.signals import Signals
from captum_spectral.features import Features, FourierBands, Pixels
from captum_spectral.features.features import assign
from captum_spectral.features.plane_waves import PlaneWaves


class TestFourierBands(FeaturesCase):
    def create(self):
        return FourierBands(num_bands=2)


class TestOctavesOfRings(FeaturesCase):
    def create(self):
        class Rings(FourierBands):
            def ids(self, inputs):
                mask = band_mask(inputs.shape[-2:], edges=[0.3, 0.6], norm="l2")
                return FourierBands(mask).ids(inputs)

        return Rings()


class TestBandsOfRows(FeaturesCase):
    def create(self):
        return FourierBands(num_bands=2, spectral_dims=-1)


class TestBandsOverThreeDimsInAnotherOrder(FeaturesCase):
    def create(self):
        return FourierBands(num_bands=1, spectral_dims=(3, 1, 2))


class TestPixels(FeaturesCase):
    few_players = False

    def create(self):
        return Pixels()


class TestHalvesOfAnImage(FeaturesCase):
    def create(self):
        class Halves(Pixels):
            def ids(self, inputs):
                row = torch.arange(inputs.shape[-1]) >= inputs.shape[-1] // 2
                return row.long().expand(1, 1, 1, -1)

        return Halves()


class Haar(Features):
    """One level of a Haar transform of the rows: averages, and differences."""

    def ids(self, inputs):
        size = inputs.shape[-2]
        return (torch.arange(size) >= size - size // 2).long().reshape(1, 1, -1, 1)

    def transform(self, x):
        half = x.shape[-2] // 2
        even, odd, rest = x[..., 0 : 2 * half : 2, :], x[..., 1::2, :], x[..., 2 * half :, :]
        return torch.cat([(even + odd) / 2, rest, (even - odd) / 2], -2)

    def inverse(self, coefficients, shape):
        half = shape[-2] // 2
        mean, difference = coefficients[..., :half, :], coefficients[..., -half:, :]
        x = coefficients.new_empty(shape)
        x[..., 0 : 2 * half : 2, :], x[..., 1 : 2 * half : 2, :] = (
            mean + difference,
            mean - difference,
        )
        x[..., 2 * half :, :] = coefficients[..., half : shape[-2] - half, :]
        return x


class TestAMemberOfYourOwn(FeaturesCase):
    def create(self):
        return Haar()


def test_shapley_values_of_groups_of_pixels_are_captums():
    x = normal((2, 1, 6, 6))
    groups = (torch.arange(6)[:, None] // 3 * 2 + torch.arange(6) // 3)[None, None]
    model = tiny_cnn(1)
    ours = SpectralShapley(model).attribute(x, [3, 1], features=Pixels(groups), baselines=0.3)
    theirs = ShapleyValues(model).attribute(x, 0.3, [3, 1], feature_mask=groups)
    torch.testing.assert_close(ours.float(), theirs, rtol=1e-5, atol=1e-7)  # Captum's are float32


def test_one_member_for_two_inputs_gives_each_players_of_its_own():
    x, y = normal((2, 1, 8, 8)), normal((2, 1, 10, 6), 1)
    game = Game(Quadratic((1, 8, 8), (1, 10, 6)), (x, y), features=FourierBands(num_bands=2))
    assert game.players.tolist() == [0, 1, 2, 3]


def test_the_same_id_in_two_inputs_is_one_player():
    x, y = normal((2, 1, 8, 8)), normal((2, 1, 10, 6), 1)
    each = FourierBands(num_bands=2), Pixels(torch.zeros(1, 1, 1, 1, dtype=torch.int64))
    game = Game(Quadratic((1, 8, 8), (1, 10, 6)), (x, y), features=each)
    assert game.players.tolist() == [0, 1]


def test_many_players_are_masked_and_give_the_values_that_few_give():
    x = normal((2, 1, 24, 24))
    many = torch.arange(70).reshape(70, 1, 1)  # a band for each of 70 channels
    game = Game(lambda x: x.flatten(1).sum(1), x.expand(2, 70, 24, 24), features=FourierBands(many))
    assert len(game.players) == 70
    full = game.evaluate(torch.ones(1, 70, dtype=torch.bool))
    close(full[:, 0], 70 * x.flatten(1).sum(1), atol=1e-9)


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        ("bands", TypeError, "features must be a captum_spectral.features.Features, .* got str"),
        ((Pixels(), Pixels()), ValueError, "one for all inputs or one per input: got 2 for 1"),
        (
            type("Bad", (Pixels,), {"ids": lambda self, x: x[:1]})(),
            TypeError,
            "Bad.ids must return",
        ),
        (Pixels(torch.zeros(3, 3).long()), ValueError, r"\(3, 3\) does not broadcast"),
    ],
)
def test_bad_features_are_named_before_any_forward_pass(features, error, message):
    with pytest.raises(error, match=message):
        Game(lambda x: 1 / 0, normal((2, 1, 8, 8)), features=features)


def test_features_and_a_mask_are_one_too_many():
    with pytest.raises(ValueError, match="features and feature_mask both say"):
        BandGame(
            tiny_cnn(1),
            normal((2, 1, 8, 8)),
            features=Pixels(),
            feature_mask=band_mask((8, 8), 2),
        )


class TestPlaneWaves(FeaturesCase):
    few_players = False

    def create(self):
        return PlaneWaves()

    @shapes
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
    def test_single_waves_are_those_of_their_inverse_transform(self, shape, dtype):
        # The parts of two inputs: players of the second come after those of the first.
        x, other = normal(shape).to(dtype), normal(shape, 1).to(dtype)
        baselines = normal((1, *shape[1:]), 2).to(dtype), torch.zeros_like(other)
        each, ids = assign(PlaneWaves(), (x, other))
        signals = Signals((x, other), baselines, each, ids)
        num_players = len(signals.players)
        members = torch.tensor([-1, 0, num_players - 1, 3, num_players // 2, 1])
        made = []
        for coalitions in (members, members[:, None] == torch.arange(num_players)):
            rows = signals.empty(len(members) * len(x))
            tile = Tile(slice(0, len(x)), slice(0, 6), slice(0, 6 * len(x)), True)
            signals.write(tile, coalitions, rows)
            made.append([rows.clone() for rows in signals.as_inputs(rows)])
        for by_product, by_transform in zip(*made, strict=True):
            tolerance = {torch.float64: 1e-13, torch.float32: 1e-5, torch.bfloat16: 0.05}[dtype]
            close(by_product, by_transform, atol=tolerance)
        clean = made[0][0].unflatten(0, (len(x), 6))[:, 0]
        assert torch.equal(clean, baselines[0].expand_as(clean))
