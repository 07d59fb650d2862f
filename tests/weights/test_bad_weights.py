"""Wrong weights, directions and options: the argument, what it was, what would work."""

import re

import pytest
import torch

from captum_spectral.weights import (
    SingularValues,
    log_volume,
    nuclear_norm,
    schatten_norm,
    spectral_entropy,
)

A = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
SOURCES = [SingularValues, nuclear_norm, log_volume, spectral_entropy]
HOLED = torch.tensor([[1.0, float("nan")]])


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        ([[1.0]], TypeError, "weight must be a torch.Tensor, got list"),
        (torch.eye(2).long(), TypeError, "weight must be floating or complex, got dtype torch.int"),
        (
            torch.ones(3),
            ValueError,
            "weight must be (..., m, n) with at least one entry, got shape",
        ),
        (torch.ones(3, 0), ValueError, "got shape (3, 0)"),
        (HOLED, ValueError, "weight must be finite: it holds 1 NaN or infinite values"),
    ],
)
def test_wrong_weights(source, weight, error, message):
    with pytest.raises(error, match=re.escape(message)):
        source(weight)


@pytest.mark.parametrize(
    ("direction", "error", "message"),
    [
        (1.0, TypeError, "direction must be a torch.Tensor, got float"),
        (torch.eye(3).long(), TypeError, "direction must be floating or complex, got dtype"),
        (torch.eye(3) + 0j, TypeError, "direction must be real for a real weight, got dtype"),
        (torch.ones(3, 1), ValueError, "direction must end in the sizes of weight, (3, 3), got"),
        (torch.ones(4, 3, 3), ValueError, "the leading dims of direction, (4,), do not broadcast"),
        (torch.full((3, 3), torch.inf), ValueError, "direction must be finite: it holds 9 NaN"),
        (torch.ones(3, 3, device="meta"), ValueError, "direction is on meta, weight on cpu"),
    ],
)
def test_wrong_directions(direction, error, message):
    spectrum = SingularValues(A.expand(2, 3, 3))
    calls = [
        lambda: spectrum.derivative(direction),
        lambda: spectrum.predict(direction),
        lambda: spectrum.hvp(direction, 0),
    ]
    for call in calls:
        with pytest.raises(error, match=re.escape(message)):
            call()


@pytest.mark.parametrize(
    ("k", "error", "message"),
    [
        (3, ValueError, "k must be from 0 to 2, or negative to count from the smallest, got 3"),
        (-4, ValueError, "k must be from 0 to 2"),
        (1.0, TypeError, "k must be an integer, the number of a singular value, got 1.0"),
        (True, TypeError, "k must be an integer"),
    ],
)
def test_wrong_numbers_of_values(k, error, message):
    spectrum = SingularValues(A)
    calls = [
        lambda: spectrum.derivative(A, k=k),
        lambda: spectrum.gradient(k),
        lambda: spectrum.hvp(A, k),
        lambda: spectrum.hessian(k),
        lambda: spectrum.hessian_diagonal(k),
    ]
    for call in calls:
        with pytest.raises(error, match=re.escape(message)):
            call()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.derivative(A, 0), ValueError, "order must be at least 1, got 0"),
        (lambda s: s.derivative(A, 1.5), TypeError, "order must be an integer"),
        (lambda s: s.predict(A, 0), ValueError, "order must be at least 1, got 0"),
        (lambda s: s.derivative(A, degenerate="skip"), ValueError,
         "degenerate must be 'raise', 'mean' or 'nan', got 'skip'"),
        (lambda s: s.forecast("1"), TypeError, "std must be a number or a torch.Tensor, got str"),
        (lambda s: s.forecast(-1), ValueError, "std must not be negative, got -1"),
        (lambda s: s.forecast(float("nan")), ValueError, "std must be finite"),
        (lambda s: s.forecast(torch.ones(2, 3)), ValueError,
         "std must be a number or broadcast to weight's (3, 3), got shape (2, 3)"),
        (lambda s: s.forecast(torch.eye(3).long()), TypeError, "std must be a real floating"),
        (lambda s: SingularValues(A, rtol=-1), ValueError, "rtol must be at least 0 and finite"),
        (lambda s: SingularValues(A, rtol="1"), TypeError, "rtol must be a number or None, got"),
        (lambda s: schatten_norm(A, 0.5), ValueError, "q must be from 1 and finite, got 0.5"),
        (lambda s: schatten_norm(A, "2"), TypeError, "q must be a number, got '2'"),
    ],
)  # fmt: skip
def test_wrong_options(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call(SingularValues(A))


@pytest.mark.parametrize("name", ["hessian", "hessian_diagonal"])
def test_complex_weights_have_no_hessian_matrix(name):
    message = f"{name} needs a real weight, got dtype torch.complex64; use derivative(direction, "
    with pytest.raises(TypeError, match=re.escape(message)):
        getattr(SingularValues(A + 0j), name)(0)


def test_a_hessian_that_is_too_large_is_not_computed():
    message = "has 67371264 entries, more than 2^26; use hvp(direction, k)"
    with pytest.raises(ValueError, match=re.escape(message)):
        SingularValues(torch.eye(54, 152)).hessian(0)


def test_ties_are_named_with_their_gap():
    tied = torch.diag(torch.tensor([3.0, 2.0, 2.0]))
    message = "values 1 to 2 of matrix (1,) are tied at 2: 0 apart, a gap within rtol; alone they"
    with pytest.raises(ValueError, match=re.escape(message)):
        SingularValues(torch.stack([A, tied])).derivative(A)
    spectrum = SingularValues(tied)
    assert spectrum.derivative(A, k=0) == 3
    with pytest.raises(ValueError, match="degenerate='mean' gives that of their mean"):
        spectrum.gradient(1)
    close = SingularValues(torch.diag(torch.tensor([3.0, 2.5, 1.0])), rtol=0.2)
    with pytest.raises(ValueError, match=re.escape("values 0 to 1 are tied at 3: 0.5 apart")):
        close.derivative(A)


def test_zeros_are_named():
    spectrum = SingularValues(torch.diag(torch.tensor([3.0, 1.0, 0.0])))
    with pytest.raises(ValueError, match=r"value 2 is 0, 0 to within rounding .* no derivative"):
        spectrum.derivative(A)
    assert spectrum.derivative(A, degenerate="mean").isnan().tolist() == [False, False, True]
    assert spectrum.hvp(A, 2, degenerate="nan").isnan().all()
    assert spectrum.derivative(A, k=0) == 3
