"""Digests tell tensors of every layout apart, and equal ones together."""

import pytest
import torch
from torch import nn

from captum_spectral.sources.digests import digest_of


def quantised(x, scale=0.5):
    return torch.quantize_per_tensor(x, scale, 0, torch.qint8)


def per_channel(x, scale=0.5):
    scales = torch.full((len(x),), scale)
    return torch.quantize_per_channel(x, scales, torch.zeros(len(x)), 0, torch.qint8)


X = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
LAYOUTS = {
    "strided": lambda x: x,
    "transposed": lambda x: x.t(),
    "bfloat16": lambda x: x.bfloat16(),
    "conjugated": lambda x: torch.complex(x, x + 1).conj(),
    "negated": lambda x: torch._neg_view(x),
    "imaginary part": lambda x: torch.complex(x, x + 1).conj().imag,
    "coo": lambda x: x.to_sparse(),
    "complex coo": lambda x: torch.complex(x, x).to_sparse().conj(),
    "csr": lambda x: x.to_sparse_csr(),
    "csc": lambda x: x.to_sparse_csc(),
    "bsr": lambda x: x.to_sparse_bsr((1, 1)),
    "nested": lambda x: torch.nested.nested_tensor([x, x[:1]]),
    "jagged": lambda x: torch.nested.nested_tensor([x, x[:1]], layout=torch.jagged),
    "quantised": quantised,
    "per channel": per_channel,
    "parameter": nn.Parameter,
}


@pytest.mark.filterwarnings("ignore")  # of PyTorch, on layouts that are new or go away
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_has_a_digest_of_its_content(layout):
    first = digest_of([layout(X)])
    assert first == digest_of([layout(X.clone())])
    assert first != digest_of([layout(X + torch.tensor([[0.0, 0.0], [0.0, 1.0]]))])
    assert len(first) == 32


@pytest.mark.filterwarnings("ignore:Sparse invariant")
def test_views_have_the_digest_of_what_they_show():
    z = torch.complex(X, X + 1)
    assert digest_of([z.conj()]) == digest_of([z.conj().resolve_conj()]) != digest_of([z])
    assert digest_of([torch._neg_view(X)]) == digest_of([-X])
    twice = torch.sparse_coo_tensor([[1, 0, 1]], [1.0, 5.0, 1.0], (2,))
    once = torch.sparse_coo_tensor([[0, 1]], [5.0, 2.0], (2,))
    assert digest_of([twice]) == digest_of([once])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [quantised, per_channel])
def test_quantised_tensors_differ_in_their_scale(make):
    assert digest_of([make(X, 0.5)]) != digest_of([make(X * 2, 1.0)])


def test_a_tensor_without_content_counts_with_its_shape():
    meta = torch.empty(2, device="meta")
    assert digest_of([meta]) == digest_of([meta.clone()])
    assert digest_of([meta]) != digest_of([torch.empty(3, device="meta")])


def test_digests_of_plain_tensors_are_those_of_saved_states():
    digest = digest_of([torch.ones(2), torch.zeros(1, 3, dtype=torch.int64)], "text")
    assert digest == "5aafc098b030a8619fe0898198853b7e"
