"""Ranks by gradient descent, and adapters in files."""

import json

import pytest
import torch
from rounded import images, same_state, small_cnn, state
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from captum_spectral.weights import ResidualAdapters, quantize_weights
from captum_spectral.weights._components import trim
from captum_spectral.weights.adapter_files import packed, unpacked
from captum_spectral.weights.rank_search import Task, _Cutoffs, butterworth

MODEL = small_cnn()
ROUNDED = quantize_weights(MODEL, 2)


def adapters(**options):
    return ResidualAdapters(MODEL, ROUNDED, "plain", **options)


def distance(model, x):
    """Mean Kullback-Leibler divergence of the outputs from the float model's."""
    with torch.no_grad():
        p, q = MODEL(x).softmax(1), model(x).softmax(1)
    return float((p * (p.log() - q.log())).sum(1).mean())


def test_the_gate_is_the_butterworth_filter_and_one_half_at_the_cutoff():
    places, cutoffs = (
        torch.arange(1, 9).double() / 8,
        torch.tensor([[0.125], [0.5], [1.0]]).double(),
    )
    for order in (1, 4):
        expected = 1 / (1 + (places / cutoffs) ** (2 * order))
        torch.testing.assert_close(butterworth(cutoffs, places, order), expected)
    at = butterworth(places, places, 4)
    torch.testing.assert_close(at, torch.full_like(at, 0.5))
    assert butterworth(torch.tensor(1e-3), torch.tensor(1.0), 100) == 0  # whose power overflows


@pytest.mark.parametrize("penalty", ["hold", "soft"])
@pytest.mark.parametrize("budget", [0.08, 0.3, 0.7])
def test_a_search_keeps_the_budget_and_is_never_worse_than_greedy(budget, penalty):
    found = adapters()
    before = state(MODEL), state(ROUNDED.model)
    loader = [(x, None) for x in images(64).split(8)]
    result = found.search(loader, budget, 12, penalty=penalty)
    assert same_state(MODEL, before[0])
    assert same_state(ROUNDED.model, before[1])
    assert found.ranks == result.ranks
    assert found.size == pytest.approx(result.size)
    assert result.size <= budget
    assert result.loss <= result.greedy_loss
    assert result.loss == pytest.approx(distance(found.fold(), images(64)), rel=1e-3)
    assert result.curve.shape == (12,)
    assert (result.kept == "greedy") == (result.loss == result.greedy_loss)
    found.allocate(budget)
    assert distance(found.fold(), images(64)) == pytest.approx(result.greedy_loss, rel=1e-3)


def test_a_search_moves_ranks_to_the_layers_that_outputs_need():
    # Two layers; what the second gives is all but ignored, and greedy does not know it.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12), nn.Linear(12, 3))
        model[2].weight.data *= 3
        model[3].weight.data *= 0.02
        skips = Skips(model[0], model[2], model[3]).eval()
    found = ResidualAdapters(skips, quantize_weights(skips, 2, skip=["head"]), "plain")
    x = torch.rand(64, 12, generator=torch.Generator().manual_seed(0))
    result = found.search(x, 0.5, 100, generator=torch.Generator().manual_seed(0))
    found.allocate(0.5)
    greedy = found.ranks
    assert result.kept == "search"
    assert result.ranks["needed"] > greedy["needed"]
    assert result.ranks["ignored"] < greedy["ignored"]
    assert result.loss < 0.9 * result.greedy_loss


class Skips(nn.Module):
    """Adds two layers, one of them made small."""

    def __init__(self, needed, ignored, head):
        super().__init__()
        self.needed, self.ignored, self.head = needed, ignored, head

    def forward(self, x):
        return self.needed(x)[:, :3] * 3 + self.head(self.ignored(x))


@pytest.mark.parametrize("budget", [0.1, 0.4])
def test_held_cutoffs_have_the_size_of_the_budget_and_gradients_along_it(budget):
    found = adapters()
    found.allocate(budget)
    total = found._num_weights
    components = {name: found.components(name) for name in found.ranks}
    task = Task(MODEL, ROUNDED.model, components, found.ranks, int(budget * total), total)
    cutoffs = _Cutoffs(task, 4, True, torch.device("cpu"))
    gates = cutoffs.gates()
    size = cutoffs.size(gates)
    assert float(size.detach()) == pytest.approx(task.most / total, rel=1e-3)
    (gradient,) = torch.autograd.grad(size, cutoffs.values, retain_graph=True)
    free = torch.autograd.grad(gates["6"].sum(), cutoffs.values)[0]
    assert gradient.abs().max() < 1e-3 * free.abs().max()


@pytest.mark.parametrize("penalty", ["hold", "soft"])
def test_an_interrupted_search_keeps_its_best_ranks(penalty):
    class Stops(Exception):
        pass

    def batches(last):
        for i, x in enumerate(images(800).split(8)):
            if i == last:
                raise Stops
            yield x

    x = images(64)
    whole = adapters()
    whole.search(images(800).split(8), 0.2, 20, penalty=penalty)
    for last in (3, 15):
        found = adapters()
        with pytest.raises(Stops):
            found.search(batches(last), 0.2, 20, penalty=penalty)
        if last == 3:  # before anything was tried
            assert sum(found.ranks.values()) == 0
            continue
        greedy = adapters()
        greedy.allocate(0.2)
        assert 0 < found.size <= 0.2
        assert distance(found.fold(), x) <= distance(greedy.fold(), x) * (1 + 1e-6)


def test_what_is_cut_is_worth_least():
    found = adapters()
    components = {name: found.components(name) for name in found.ranks}
    full = {name: len(c.values) for name, c in components.items()}
    cut = trim(full, components, found._numbers(0.3))
    assert found.size_of(cut) <= 0.3
    kept = min(components[n].worth(r - 1) for n, r in cut.items() if r)
    gone = max(components[n].worth(r) for n, r in cut.items() if r < full[n])
    assert gone <= kept


def test_cross_entropy_learns_from_labels():
    found = adapters()
    x = images(32)
    labels = MODEL(x).argmax(1)
    result = found.search([(x, labels)], 0.3, 3, loss="cross_entropy")
    with torch.no_grad():
        expected = nn.functional.cross_entropy(found.fold()(x), labels)
    assert result.loss == pytest.approx(float(expected), rel=1e-4)


class Half(nn.Module):
    """Gives feature maps in place of logits."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3)

    def forward(self, x):
        return self.conv(x)


@pytest.mark.parametrize(
    ("loader", "options", "kind", "message"),
    [
        (images(8), {"budget": 2}, ValueError, "budget must lie between 0 and 1"),
        (images(8), {"steps": 0}, ValueError, "steps must be at least 1"),
        (images(8), {"order": 0}, ValueError, "order must be at least 1"),
        (images(8), {"loss": "mse"}, ValueError, "loss must be 'kl' or 'cross_entropy'"),
        (images(8), {"penalty": "hard"}, ValueError, "penalty must be 'hold' or 'soft'"),
        (images(8), {"loss": "cross_entropy"}, ValueError, "needs labels, and loader gives"),
        (3, {}, TypeError, "loader must be images"),
        ([], {}, ValueError, "loader must hold at least one image"),
        (iter([images(8)]), {}, ValueError, "loader ended before the search did"),
        (images(8) / 0, {}, ValueError, "loader must be finite"),
    ],
)
def test_bad_searches_are_named(loader, options, kind, message):
    with pytest.raises(kind, match=message):
        adapters().search(loader, **{"budget": 0.3, **options})


def test_outputs_that_are_no_logits_and_training_mode_are_refused():
    model = Half().eval()
    with pytest.raises(ValueError, match=r"a search needs logits \(8, classes\)"):
        ResidualAdapters(model, quantize_weights(model, 2), "plain").search(images(8), 0.6)
    model = small_cnn().train()
    with pytest.raises(ValueError, match="model, or a part of it, is in training mode"):
        ResidualAdapters(model, quantize_weights(model, 2), "plain").search(images(8), 0.6)


@pytest.mark.parametrize("bits", range(1, 9))
def test_packed_codes_take_their_bits_and_come_back(bits):
    codes = torch.randint(2**bits, (7, 13), generator=torch.Generator().manual_seed(bits))
    codes = codes.to(torch.uint8)
    small = packed(codes, bits)
    assert small.numel() == -(-7 * 13 * bits // 8)
    assert torch.equal(unpacked(small, bits, codes.numel()).reshape(codes.shape), codes)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("adapter_bits", [None, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_what_is_saved_gives_the_same_outputs_to_the_last_bit(
    tmp_path, per_channel, adapter_bits, dtype
):
    model = small_cnn().to(dtype)
    rounded = quantize_weights(
        model, 3, per_channel=per_channel, clip="mse", overrides={"0": 5}, skip=["10"]
    )
    found = ResidualAdapters(model, rounded, "plain", adapter_bits=adapter_bits)
    found.allocate(0.3)
    path = tmp_path / "adapters.safetensors"
    found.save(path)
    x = images(4).to(dtype)
    for quantised in (None, rounded):
        again = ResidualAdapters.load(path, model, quantised)
        assert again.ranks == found.ranks
        assert again.size == found.size
        assert again.bits_per_weight == found.bits_per_weight
        assert again.rounding.clip == "mse"
        for name, weight in rounded.model.state_dict().items():
            assert torch.equal(again.quantised.state_dict()[name], weight)
        assert torch.equal(again.attach()(x), found.attach()(x))
        assert torch.equal(again.fold()(x), found.fold()(x))
    second = tmp_path / "again.safetensors"
    again.save(second)
    assert second.read_bytes() == path.read_bytes()
    lower = {name: max(0, rank - 1) for name, rank in found.ranks.items()}
    again.ranks = found.ranks = lower
    if adapter_bits is None:
        assert torch.equal(again.fold()(x), found.fold()(x))
    name = next(name for name, rank in found.ranks.items() if rank)
    with pytest.raises(ValueError, match="must be at most"):
        again.ranks = {name: 99}


def test_files_of_another_model_and_other_files_are_refused(tmp_path):
    path = tmp_path / "adapters.safetensors"
    found = adapters()
    found.allocate(0.2)
    found.save(path)
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["captum_spectral"])
    assert about["bits"] == dict.fromkeys(("0", "3", "6", "10"), 2)
    with pytest.raises(ValueError, match="belongs to other float weights than those of model"):
        ResidualAdapters.load(path, small_cnn(1))
    with pytest.raises(ValueError, match="has other rounded weights than quantised in '0'"):
        ResidualAdapters.load(path, MODEL, quantize_weights(MODEL, 3))
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.ones(2)}, other)
    with pytest.raises(ValueError, match=r"must be a file of ResidualAdapters\.save"):
        ResidualAdapters.load(other, MODEL)
    other.write_bytes(path.read_bytes()[:99])
    with pytest.raises(ValueError, match="cannot be read as adapters"):
        ResidualAdapters.load(other, MODEL)
    with pytest.raises(FileNotFoundError):
        ResidualAdapters.load(tmp_path / "none.safetensors", MODEL)
    with pytest.raises(ValueError, match="save needs to know the grid"):
        ResidualAdapters(MODEL, ROUNDED.model, "plain").save(path)
    changed = quantize_weights(MODEL, 2)
    changed.model[1].running_mean += 1
    with pytest.raises(ValueError, match="in more than these; save its state dict"):
        ResidualAdapters(MODEL, changed, "plain").save(path)
    with pytest.raises(OSError, match="cannot be written"):
        found.save(tmp_path / "nowhere" / "a.safetensors")


def test_a_single_logit_is_searched_as_two_classes():
    model = nn.Sequential(*MODEL[:9], nn.Flatten(), nn.Linear(32, 1)).eval()
    found = ResidualAdapters(model, quantize_weights(model, 2), "plain").search(
        images(32), budget=0.2, steps=2
    )
    assert found.greedy_loss > 0  # the softmax of one number is 1 whatever it is
