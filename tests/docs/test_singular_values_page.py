"""The page on singular values runs from top to bottom and shows the numbers it says."""

import re
from pathlib import Path

import pytest
import torch
from captum.attr import IntegratedGradients

PAGE = (Path(__file__).parents[2] / "docs" / "singular-values.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def names():
    names = {"model": torch.nn.Linear(6, 5)}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)
    return names


def test_the_code_of_the_page_runs(names):
    assert names["second"].shape == names["change"].shape == names["mean"].shape == (5,)
    assert (names["std"] > 0).all()
    assert 1 < names["rank"] <= 5


def test_a_tie_has_the_derivatives_that_the_page_says(names):
    assert names["marked"][:2].isnan().all()
    assert names["marked"][2] == 0.5
    tied = names["tied"].derivative(names["E"], degenerate="mean")
    assert tied.tolist() == [0.5, 0.5, 0.5]
    assert names["hessian"].isfinite().all()


def test_where_the_page_says_so_autograd_gives_nan():
    weight = torch.eye(2).mul(2).requires_grad_()
    (first,) = torch.autograd.grad(torch.linalg.svdvals(weight).sum(), weight, create_graph=True)
    second = torch.autograd.grad(first[0, 1], weight)[0]
    assert not second.isfinite().all()


def test_captum_attributes_a_function_to_weights_as_on_the_page(names):
    weights = torch.randn(2, 4, 3)
    found = IntegratedGradients(names["nuclear_norm"]).attribute(weights)
    whole = names["nuclear_norm"](weights)
    assert found.sum((1, 2)).tolist() == pytest.approx(whole.tolist(), rel=0.01)
