"""Models whose batch is fixed run, or the error says how; outputs of sessions have their names."""

import numpy as np
import pytest
import torch
from helpers import tiny_cnn

from captum_spectral import (
    FeatureSuppression,
    SpectralImportance,
    SpectralShapley,
    find_boundary,
    lowest_cutoff,
    robust_accuracy,
)
from captum_spectral.game import OutputOf

X = torch.rand(3, 3, 12, 10, generator=torch.Generator().manual_seed(0))
WEIGHTS = np.random.default_rng(0).normal(size=(2, 360, 4)).astype(np.float32)
OPTIONS = {"num_bands": 3, "return_input_shape": False}


def session(batch, names=("features", "logits"), shapes=None):
    """A session of two linear models of flat inputs, for batches of one size or of any."""
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    helper = onnx.helper
    nodes = [helper.make_node("Flatten", ["x"], ["flat"])]
    nodes += [helper.make_node("MatMul", ["flat", f"w_{y}"], [y]) for y in names]
    outputs = [helper.make_tensor_value_info(y, 1, [batch, 4]) for y in names]
    if shapes:
        nodes.append(helper.make_node("ReduceSum", ["flat"], ["total"], keepdims=0))
        outputs.append(helper.make_tensor_value_info("total", 1, []))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("x", 1, [batch, 3, 12, 10])],
        outputs,
        [onnx.numpy_helper.from_array(w, f"w_{y}") for y, w in zip(names, WEIGHTS, strict=True)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return runtime.InferenceSession(made.SerializeToString())


def known(number):
    weight = torch.from_numpy(WEIGHTS[number])
    return SpectralShapley(lambda x: x.flatten(1) @ weight).attribute(X, 2, **OPTIONS)


@pytest.mark.parametrize("batch", ["B", 1, 2, 5])
def test_a_session_of_any_batch_takes_any_number_of_rows(batch):
    for output, number in ((0, 0), ("features", 0), ("logits", 1), (-1, 1), (None, 1)):
        found = SpectralShapley(session(batch), output=output).attribute(X, 2, **OPTIONS)
        torch.testing.assert_close(found, known(number), rtol=1e-4, atol=1e-5)
    found = SpectralShapley(OutputOf(session(batch), "features")).attribute(X, 2, **OPTIONS)
    torch.testing.assert_close(found, known(0), rtol=1e-4, atol=1e-5)


def test_of_a_session_without_usual_names_the_first_output_is_taken():
    found = SpectralShapley(session("B", ("a", "b"))).attribute(X, 2, **OPTIONS)
    torch.testing.assert_close(found, known(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("output", ["nope", 2, -3])
def test_an_output_that_a_session_lacks_is_named_before_it_runs(output):
    message = rf"^output={output!r} is not in .*, the outputs 'features', 'logits' of a session$"
    for make in (SpectralShapley, SpectralImportance, OutputOf):
        with pytest.raises(KeyError) as caught:
            make(session(1), output=output).attribute(X, 2, **OPTIONS)
        caught.match(message)


def test_an_output_for_the_whole_batch_cannot_go_in_parts():
    with pytest.raises(ValueError, match=r"batches of 2, and its output 'total' of shape \(\) has"):
        SpectralShapley(session(2, shapes=True), output=0).attribute(X, 2, **OPTIONS)


class OfOne(torch.nn.Module):
    """A model that takes one row at a time, as an export does."""

    def __init__(self):
        super().__init__()
        self.model = tiny_cnn(dtype=torch.float32)
        self.eval()

    def forward(self, x):
        if len(x) != 1:
            raise AssertionError("Guard failed: x.size()[0] == 1")
        return self.model(x)


LABEL = OfOne()(X[:1]).argmax(1)
CALLS = {
    "attribute": (
        "perturbations_per_eval",
        lambda model, **o: SpectralShapley(model).attribute(X[:1], 0, **OPTIONS, **o),
    ),
    "evaluate": (
        "perturbations_per_eval",
        lambda model, **o: SpectralImportance(model, num_bands=3, **o).evaluate(
            [(X[:1], LABEL)], show_progress=False
        ),
    ),
    "cut-off": ("perturbations_per_eval", lambda model, **o: lowest_cutoff(model, X[:1], **o)),
    "suppression": (
        "internal_batch_size",
        lambda model, **o: FeatureSuppression(model).attribute(X[:1], 0, n_samples=2, **o),
    ),
    "attack": (
        "internal_batch_size",
        lambda model, **o: robust_accuracy(model, X, LABEL.expand(3), epsilon=0.1, **o),
    ),
    "boundary": (
        "internal_batch_size",
        lambda model, **o: find_boundary(model, X, model.model(X).argmax(1), **o),
    ),
}


@pytest.mark.parametrize(("argument", "call"), CALLS.values(), ids=CALLS)
def test_the_error_of_a_fixed_batch_says_what_helps(argument, call):
    with pytest.raises(AssertionError) as caught:
        call(OfOne())
    caught.match(r"^Guard failed: x.size\(\)\[0\] == 1\n\(forward_func takes 1 row and not \d+, ")
    caught.match(rf": {argument}=1 gives it 1 row at a time\)$")
    call(OfOne(), **{argument: 1})


def test_later_errors_and_those_of_this_package_have_no_such_hint():
    calls = []

    def fails_later(x):
        calls.append(len(x))
        if len(calls) > 1:
            raise AssertionError("the second call")
        return tiny_cnn(dtype=torch.float32)(x)

    with pytest.raises(AssertionError, match=r"^the second call$"):
        SpectralShapley(fails_later).attribute(X, 0, num_bands=8)
    narrow = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(7, 5)).eval()
    with pytest.raises(RuntimeError, match=r"shapes cannot be multiplied \(.*7x5\)$"):
        SpectralShapley(narrow).attribute(X, 0, **OPTIONS)
    with pytest.raises(TypeError, match=r"got str$"):
        SpectralShapley(lambda x: "text").attribute(X, 0, **OPTIONS)
    message = (
        r"takes 1 row and not 3, .*perturbations_per_eval=1 gives .*, of one example in each call"
    )
    with pytest.raises(AssertionError, match=message):
        SpectralShapley(OfOne()).attribute(X, 0, **OPTIONS, perturbations_per_eval=1)


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is:")
def test_a_script_of_a_function_runs():
    script = torch.jit.trace(lambda x: x.flatten(1)[:, :5].tanh(), X)
    plain = SpectralShapley(lambda x: x.flatten(1)[:, :5].tanh())
    found = SpectralShapley(script).attribute(X, 2, **OPTIONS)
    torch.testing.assert_close(found, plain.attribute(X, 2, **OPTIONS))
