"""The page on changes of weights runs from top to bottom."""

import copy
import re
from pathlib import Path

import pytest
import torch
from torch import nn

PAGE = (Path(__file__).parents[2] / "docs" / "weight-changes.md").read_text(encoding="utf-8")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.body = nn.Conv2d(6, 6, 3, stride=2, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.body(torch.relu(self.norm(self.stem(x))))
        return self.head(torch.relu(x).mean((2, 3)))


@pytest.fixture(scope="module")
def names():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Net().eval()
        before = copy.deepcopy(model)
        for weight in before.parameters():
            weight.data += 0.02 * torch.randn_like(weight)
        names = {"model": model, "before": before, "inputs": torch.rand(5, 3, 16, 16)}
    names["labels"] = torch.tensor([0, 1, 2, 3, 0])
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)
    return names


def test_values_are_complete_whatever_the_players(names):
    model, before, x, y = (names[n] for n in ("model", "before", "inputs", "labels"))
    with torch.no_grad():
        change = (model(x) - before(x)).gather(1, y[:, None])[:, 0]
    assert names["game"].names == ("stem", "norm", "body", "head")
    torch.testing.assert_close(names["values"].sum(1).float(), change)
    torch.testing.assert_close(names["of_blocks"].sum(1).float(), change)
    assert not names["error"].any()  # exact
    only_stem = copy.deepcopy(model)
    only_stem.stem.load_state_dict(before.stem.state_dict())
    with torch.no_grad():
        change_of_stem = (model(x) - only_stem(x)).gather(1, y[:, None])[:, 0]
    torch.testing.assert_close(names["of_bands"].sum(1).float(), change_of_stem)


def test_gates_give_the_mean(names):
    expected = names["values"].mean(0).float()
    torch.testing.assert_close(names["mean"][0].detach(), expected, rtol=0.05, atol=2e-3)


def test_losses_are_explained_too(names):
    x, y = names["inputs"], names["labels"]
    with torch.no_grad():
        after, before = (
            nn.functional.cross_entropy(names[n](x), y, reduction="none")
            for n in ("model", "before")
        )
    torch.testing.assert_close(names["losses"].sum(1).float(), after - before)


def test_frequencies_are_compared_and_predicted(names):
    assert [ratio.shape for ratio in names["ratios"]] == [(8,), (8,)]
    after = names["frequency_response"](copy.deepcopy(names["model"].stem).double())
    old = names["frequency_response"](copy.deepcopy(names["before"].stem).double())
    truth = (after.singular_values() - old.singular_values()).detach()
    assert ((truth - names["moves"]).abs() <= names["radius"]).all()
