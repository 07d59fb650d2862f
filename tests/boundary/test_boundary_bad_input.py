"""Every wrong argument of the search and of the methods at the boundary is named."""

import warnings

import pytest
import torch
from captum.attr import NoiseTunnel
from classifiers import BOTH, decided, images
from helpers import Counting, tiny_cnn

from captum_spectral.attr import BoundaryIntegratedGradients, BoundarySaliency
from captum_spectral.boundary import BoundarySearch, find_boundary

X = images(3)
NAN = X.clone()
NAN[1, 0, 3, 4:6] = float("nan")
BEFORE_ANY_FORWARD = [
    ({"inputs": X.long()}, TypeError, r"inputs must be a real floating .*int64.*\.float\(\)"),
    ({"inputs": NAN}, ValueError, "inputs must be finite: example 1 holds 2 NaN"),
    ({"inputs": (X, X)}, ValueError, "inputs must be one tensor.*got a tuple of 2"),
    ({"inputs": [X]}, TypeError, "inputs must be a torch.Tensor"),
    ({"target": None}, TypeError, r"target must name one class per example.*got None.*argmax\(1\)"),
    ({"target": (0, 1)}, TypeError, r"target must name one class.*got \(0, 1\)"),
    ({"target": torch.rand(3)}, TypeError, r"got torch.float32 \(3,\)"),
    ({"target": [0.0, 1, 2]}, TypeError, r"target must be an integer.*a list that holds 0\.0"),
    ({"target": torch.zeros(3, 2).long()}, ValueError, r"one per example.*got shape \(3, 2\)"),
    ({"target": [0, 1]}, ValueError, "target has 2 entries for 3 examples"),
    ({"target": -1}, ValueError, "count classes from 0, got -1"),
    ({"internal_batch_size": 0}, ValueError, "internal_batch_size must be at least 1, got 0"),
    ({"internal_batch_size": 2.0}, TypeError, "internal_batch_size must be an integer or None"),
]
OF_THE_SEARCH = [
    ({"clip": 1.0}, TypeError, r"clip must be None or a pair \(low, high\), got 1.0"),
    ({"clip": (1, 0)}, ValueError, r"low <= high everywhere, got \(1, 0\)"),
    ({"clip": (0, [1, 1])}, ValueError, r"broadcast to the inputs of shape .*got shape \(2,\)"),
    ({"clip": (0.5, 1)}, ValueError, r"inputs must lie inside clip=\(0.5, 1\).*0 \(.*1 \(.*2 \("),
    ({"clip": (0, float("nan"))}, ValueError, "low <= high everywhere"),
    ({"num_restarts": -1}, ValueError, "num_restarts must be at least 0, got -1"),
    ({"num_restarts": 1.5}, TypeError, "num_restarts must be an integer"),
    ({"on_missing": "ignore"}, ValueError, 'on_missing must be "raise" or "nan", got \'ignore\''),
    ({"method": "fgsm"}, TypeError, 'method must be "deepfool", "pgd" or a function.*fgsm'),
    ({"num_candidates": 0}, ValueError, "num_candidates must be at least 1"),
    ({"max_steps": 0}, ValueError, "max_steps must be at least 1"),
    ({"bisection_steps": -1}, ValueError, "bisection_steps must be at least 0"),
    ({"bisection_steps": 51}, ValueError, "bisection_steps must be at most 50.*got 51"),
    ({"refinement_steps": -1}, ValueError, "refinement_steps must be at least 0"),
    ({"overshoot": 0}, ValueError, "overshoot must be positive, got 0"),
    ({"radii": ()}, ValueError, "radii must be one or more positive numbers"),
    ({"radii": (1, -1)}, ValueError, "radii must be one or more positive numbers"),
]
OF_THE_ATTRIBUTION = [
    ({"score": "probability"}, ValueError, 'score must be "logit" or "margin", got \'prob'),
    ({"baselines": 0}, TypeError, "baselines must be boundary points.*got int"),
    ({"baselines": X[:2]}, ValueError, r"baselines of shape \(2, 1, 10, 12\) must have the shape"),
    ({"search": "fgsm"}, TypeError, 'search must be "deepfool", "pgd" or a function.*fgsm'),
    ({"search": None}, TypeError, "search must be .* or a BoundarySearch, got None"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BEFORE_ANY_FORWARD + OF_THE_SEARCH)
def test_bad_input_of_the_search_before_any_forward_pass(arguments, error, message):
    model = Counting(tiny_cnn(1))
    with pytest.raises(error, match=message):
        find_boundary(model, **{"inputs": X, "target": 0, **arguments})
    assert model.calls == 0


@BOTH
@pytest.mark.parametrize(("arguments", "error", "message"), BEFORE_ANY_FORWARD + OF_THE_ATTRIBUTION)
def test_bad_input_of_the_methods_before_any_forward_pass(method, arguments, error, message):
    model = Counting(tiny_cnn(1))
    with pytest.raises(error, match=message):
        method(model).attribute(**{"inputs": X, "target": 0, **arguments})
    assert model.calls == 0


@BOTH
@pytest.mark.parametrize(("options", "error", "message"), OF_THE_SEARCH)
def test_bad_options_of_their_search_before_any_forward_pass(method, options, error, message):
    model = Counting(tiny_cnn(1))
    with pytest.raises(error, match=message):
        method(model).attribute(X, 0, search=BoundarySearch(**options))
    assert model.calls == 0


@pytest.mark.parametrize(
    "beside",
    [{"clip": (0, X)}, {"num_restarts": 2, "on_missing": "nan"}, {"radii": [1]}, {"max_steps": 3}],
)
def test_a_search_takes_no_options_beside_it(beside):
    model = Counting(tiny_cnn(1))
    message = f"method is a BoundarySearch, which has its own {', '.join(beside)}: give"
    with pytest.raises(ValueError, match=message):
        find_boundary(model, X, 0, method=BoundarySearch("pgd"), **beside)
    assert model.calls == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_steps": 0}, ValueError, "n_steps must be at least 1, got 0"),
        ({"n_steps": 2.5}, TypeError, "n_steps must be an integer or None, got 2.5"),
        ({"n_steps": None}, TypeError, "n_steps must be an integer, got None"),
        ({"method": "simpson"}, ValueError, "method must be one of .*gausslegendre.*got 'simpson'"),
    ],
)
def test_bad_input_of_the_quadrature_before_the_search(arguments, error, message):
    model = Counting(tiny_cnn(1))
    with pytest.raises(error, match=message):
        BoundaryIntegratedGradients(model).attribute(X, 0, **arguments)
    assert model.calls == 0


@pytest.mark.parametrize(
    "quadrature",
    ["riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid", "gausslegendre"],
)
def test_every_quadrature_of_captum(quadrature):
    model, x = tiny_cnn(1), images(2)
    _, delta = BoundaryIntegratedGradients(model).attribute(
        x, decided(model, x), method=quadrature, return_convergence_delta=True
    )
    assert delta.abs().max() < 0.01


@BOTH
def test_a_target_that_is_not_predicted_names_the_examples(method):
    model = tiny_cnn(1)
    c = decided(model, X)
    wrong = c.clone()
    wrong[1] = (c[1] + 1) % 5
    listed = rf"examples 1 \(target {int(wrong[1])}, predicted {int(c[1])}\); use.*argmax\(1\)"
    with pytest.raises(ValueError, match=listed):
        method(model).attribute(X, wrong)
    with pytest.raises(ValueError, match=listed):
        find_boundary(model, X, wrong)


@BOTH
def test_points_that_are_not_across_are_refused(method):
    model = tiny_cnn(1)
    c = decided(model, X)
    points = find_boundary(model, X, c).points
    points[2] = X[2]
    with pytest.raises(ValueError, match=r"takes for another class than target.*examples \[2\]"):
        method(model).attribute(X, c, baselines=points)


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_offset_of_the_outputs_does_not_blur_which_points_are_across(method, dtype):
    body, x = tiny_cnn(1, dtype=dtype), X.to(dtype)
    c = decided(body, x)

    def model(x):
        return body(x) + 1e4

    with pytest.raises(ValueError, match=r"are not for the examples \[0, 1, 2\]"):
        method(model).attribute(x, c, baselines=x)
    points = find_boundary(model, x, c).points
    assert method(model).attribute(x, c, baselines=points).isfinite().all()


@BOTH
class TestWithGivenPoints:
    def test_the_target_need_not_be_predicted(self, method):
        model = tiny_cnn(1)
        points = find_boundary(model, X, decided(model, X)).points
        other = decided(model, points)  # not the class of X
        assert method(model).attribute(X, other, baselines=X.clone()).isfinite().all()

    def test_nothing_of_the_search_counts_but_on_missing(self, method):
        model = tiny_cnn(1)
        c = decided(model, X)
        points = find_boundary(model, X, c).points
        expected = method(model).attribute(X, c, baselines=points)
        search = BoundarySearch("pgd", clip=(X + 5, X + 6), num_restarts=3, on_missing="nan")
        assert torch.equal(method(model).attribute(X, c, baselines=points, search=search), expected)
        NoiseTunnel(method(model)).attribute(
            X, nt_samples=2, target=c, baselines=points, search=search
        )


@BOTH
@pytest.mark.parametrize("score", ["logit", "margin"])
@pytest.mark.parametrize("kind", ["input", "output"])
def test_a_model_that_detaches_the_graph(method, kind, score):
    body = tiny_cnn(1)

    def model(x):
        return body(x.detach()) if kind == "input" else body(x).detach()

    c = decided(body, X)
    points = find_boundary(body, X, c).points
    message = "forward_func must be differentiable.*no gradient.*detach"
    for baselines in (None, points):
        with pytest.raises(ValueError, match=message):
            method(model).attribute(X, c, baselines=baselines, score=score)
    with pytest.raises(ValueError, match=message):
        find_boundary(model, X, c, method="pgd")
    assert all(p.grad is None for p in body.parameters())


@pytest.mark.parametrize(
    ("forward", "target", "error", "message"),
    [
        (lambda x: x.sum(), 0, ValueError, r"return \(B, classes\).*got shape \(\) for 3"),
        (lambda x: x.flatten(1)[:, 0], 0, ValueError, r"got shape \(3,\) for 3 examples"),
        (lambda x: x.flatten(1)[:, :0], 0, ValueError, r"at least two classes.*shape \(3, 0\)"),
        (lambda x: x.flatten(1)[:2], 0, ValueError, r"one row per example, got shape \(2, 120\)"),
        (lambda x: x, 0, ValueError, r"got shape \(3, 1, 10, 12\)"),
        (lambda x: 1.0, 0, TypeError, r"floating tensor \(B, classes\), got float"),
        (lambda x: x.flatten(1).long(), 0, TypeError, "got torch.int64"),
        (lambda x: x.flatten(1), 500, ValueError, r"target 500 does not exist.*0\.\.119"),
        (lambda x: x.flatten(1) / 0, 0, ValueError, r"not finite .* examples \[0, 1, 2\]"),
    ],
)
def test_outputs_that_are_no_classes(forward, target, error, message):
    with pytest.raises(error, match=message):
        find_boundary(forward, X, target)
    for method in (BoundarySaliency, BoundaryIntegratedGradients):
        with pytest.raises(error, match=message):
            method(forward).attribute(X, target)


@pytest.mark.parametrize(
    ("search", "error", "message"),
    [
        (lambda x, c: None, TypeError, "method must return a torch.Tensor, got NoneType"),
        (lambda x, c: x[:1], ValueError, r"one point per example, \(3, 1, 10, 12\), got shape"),
    ],
)
def test_a_search_that_returns_no_points(search, error, message):
    model = tiny_cnn(1)
    with pytest.raises(error, match=message):
        find_boundary(model, X, decided(model, X), method=search)


def test_a_model_that_overflows_on_the_way_is_missing_not_nan():
    def fragile(x):
        value = x.flatten(1).sum(1)
        value = torch.where(value < 10, torch.nan, value)
        return torch.stack([value, 0 * value], 1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        boundary = find_boundary(fragile, X, 0, on_missing="nan")
    assert not boundary.found.any()
