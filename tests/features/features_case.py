"""What every member of the family of features must do, written once.

A new transform is a file in ``captum_spectral/features/`` and a subclass of ``FeaturesCase`` here:

    class TestMyTransform(FeaturesCase):
        def create(self):
            return MyTransform()
"""

import pytest
import torch

from captum_spectral import FeatureSuppression, Game, SpectralShapley, deletion_curve
from captum_spectral._engine import signals as engine
from captum_spectral._engine.rows import Tile
from captum_spectral._engine.signals import Signals
from captum_spectral.coalitions import all_coalitions
from captum_spectral.features.features import Features, assign, paint_ids, split

SHAPES = [(2, 1, 8, 8), (1, 3, 9, 12), (3, 2, 7, 5)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def normal(shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def close(a, b, atol=1e-12):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=atol)


class FeaturesCase:
    """Subclass it, and say how to make the features."""

    few_players = True  # at most 10 for an input of SHAPES, so that all coalitions can be asked for
    self_adjoint = True  # <P x, y> = <x, P y> for the part P of any player

    def create(self) -> Features:
        raise NotImplementedError

    def placed(self, x):
        (member,), (ids,) = assign(self.create(), (x,))
        return member, ids, ids.unique()

    def parts(self, x):
        member, ids, players = self.placed(x)
        return split(member, x, ids, players)

    def masked(self, x, y, coalition):
        """Keep the players of one coalition (P,) of x, and the others of y: by the definition."""
        member, ids, players = self.placed(x)
        present = torch.zeros(int(players.max()) + 1, dtype=torch.bool)
        present[players] = coalition
        kept = present[member.of_coefficients(ids)] * member.transform(x - y)
        return y + member.inverse(kept, x.shape)

    @shapes
    def test_ids_are_painted_on_the_input(self, shape):
        x = normal(shape)
        _, ids, players = self.placed(x)
        assert ids.dtype is torch.int64
        assert len(ids) in (1, len(x))
        values = normal((len(x), int(players.max()) + 1))
        painted = paint_ids(values, ids, x.shape)
        assert painted.shape == x.shape
        assert torch.equal(painted[:1].unique(), values[:1, players].unique())

    @shapes
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_the_parts_sum_to_the_input_whatever_size_and_dtype(self, shape, dtype):
        x = normal(shape, dtype=dtype)
        parts = self.parts(x)
        assert parts.dtype is dtype
        atol = 1e-12 if dtype is torch.float64 else 1e-5
        torch.testing.assert_close(parts.sum(1), x, rtol=0, atol=atol)

    @shapes
    def test_the_inverse_undoes_the_transform_and_both_are_linear(self, shape):
        member, x, y = self.create(), normal(shape), normal(shape, 1)
        of_x, of_y = member.transform(x), member.transform(y)
        close(member.inverse(of_x, x.shape), x)
        assert (member.transform(2 * x - y) - 2 * of_x + of_y).abs().max() < 1e-11
        close(member.inverse(2 * of_x - of_y, x.shape), 2 * x - y)

    @shapes
    def test_a_part_has_nothing_of_the_others(self, shape):
        # So that every frequency k goes with -k, and the parts of a real signal are real.
        x = normal(shape)
        parts = self.parts(x)
        for p in range(min(parts.shape[1], 3)):
            again = self.parts(parts[:, p])
            close(again[:, p], parts[:, p])
            assert (
                again.abs().flatten(2).amax(2).sum(1) - again[:, p].abs().flatten(1).amax(1)
            ).max() < 1e-11

    @shapes
    def test_keeping_a_part_is_its_own_adjoint(self, shape):
        if not self.self_adjoint:
            pytest.skip("of an oblique transform it is not")
        x, y = normal(shape), normal(shape, 1)
        close(
            (self.parts(x) * y[:, None]).flatten(2).sum(2),
            (self.parts(y) * x[:, None]).flatten(2).sum(2),
        )

    @shapes
    @pytest.mark.parametrize("own", [False, True])
    @pytest.mark.parametrize("shared_baseline", [False, True])
    def test_mixing_parts_equals_masking_coefficients(
        self, shape, own, shared_baseline, monkeypatch
    ):
        x, b = normal(shape), normal((1, *shape[1:]) if shared_baseline else shape, 1)
        found = []
        for most in (0, 10**6):
            monkeypatch.setattr(engine, "MOST_MIXED", most)
            found.append(self.rows_of(x, b, own))
        (rows, coalitions), (again, _) = found
        close(rows, again)
        for e in range(len(x)):
            for k in range(3):
                c = coalitions[e, k] if own else coalitions[k]
                close(rows[e, k], self.masked(x, b.expand_as(x), c)[e])

    def rows_of(self, x, b, own):
        """Make the signals ``(B, K, ...)`` of three coalitions by the engine."""
        each, ids = assign(self.create(), (x,))
        signals = Signals((x,), (b,), each, ids)
        shape = (len(x), 3, len(signals.players)) if own else (3, len(signals.players))
        coalitions = torch.rand(shape, generator=torch.Generator().manual_seed(2)) < 0.5
        rows = signals.empty(3 * len(x))
        tile = Tile(slice(0, len(x)), slice(0, 3), slice(0, 3 * len(x)), True)
        signals.write(tile, coalitions, rows)
        (made,) = signals.as_inputs(rows)
        return made.reshape(len(x), 3, *x.shape[1:]).clone(), coalitions

    @pytest.mark.parametrize("way", ["mix", "mask"])
    def test_real_weights_are_differentiable_and_agree_with_coalitions(self, way, monkeypatch):
        monkeypatch.setattr(engine, "MOST_MIXED", 0 if way == "mask" else 10**6)
        x, b = normal(SHAPES[2]), normal(SHAPES[2], 1)
        game = Game(lambda x: x.flatten(1).sin().sum(1), x, features=self.create(), baselines=b)
        if game.num_features != len(game.players):
            pytest.skip("ids without places have no weights of their own")
        coalitions = torch.rand(3, game.num_features) < 0.5
        values = game.evaluate(coalitions)
        for e in range(3):
            found = game(coalitions.double(), torch.full((3,), e))
            close(found, values[e])
        weights = torch.rand(2, game.num_features, dtype=torch.float64, requires_grad=True)
        some = torch.tensor([2, 0])
        assert torch.autograd.gradcheck(lambda w: game(w, some), weights)

    def test_channels_last_inputs_give_channels_last_rows(self):
        x = normal(SHAPES[1]).contiguous(memory_format=torch.channels_last)
        seen = []
        game = Game(lambda x: seen.append(x) or x.flatten(1).sum(1), x, features=self.create())
        full = torch.ones(2, game.num_features, dtype=torch.bool)
        game.evaluate(full)
        assert seen[0].is_contiguous(memory_format=torch.channels_last)
        close(seen[0], x.expand_as(seen[0]))

    @shapes
    def test_a_linear_model_has_the_products_of_its_weights_with_the_parts(self, shape):
        if not self.few_players:
            pytest.skip("all coalitions of so many players are too many")
        x, weight = normal(shape), normal(shape[1:], 1)
        phi = SpectralShapley(lambda x: (x * weight).flatten(1).sum(1)).attribute(
            x, features=self.create(), return_input_shape=False
        )
        _, _, players = self.placed(x)
        close(phi[:, players], (self.parts(x) * weight).flatten(2).sum(2))

    def test_every_method_that_takes_features_takes_these(self):
        x, member = normal(SHAPES[0]), self.create()
        weight = normal(SHAPES[0][1:], 1)

        def model(x):
            return (x * weight).flatten(1).sum(1)

        z = FeatureSuppression(model).attribute(x, features=member, n_samples=2, absolute=False)
        close(z, weight.expand_as(x))
        _, _, players = self.placed(x)
        scores = x if member.pixelwise else normal((len(x), int(players.max()) + 1))
        curve = deletion_curve(model, x, scores, features=member)
        close(curve.values[:, 0], model(x))
        close(curve.values[:, -1], torch.zeros(len(x)).double())

    def test_a_game_counts_its_players(self):
        x = normal(SHAPES[0])
        game = Game(lambda x: x.flatten(1).sum(1), x, features=self.create())
        _, _, players = self.placed(x)
        assert torch.equal(game.players, players)
        if self.few_players and len(players) == game.num_features:
            table = game.evaluate(all_coalitions(game.num_features))
            close(table[:, -1], x.flatten(1).sum(1))
