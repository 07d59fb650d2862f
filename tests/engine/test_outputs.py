"""Whatever a forward function returns is read as it is meant, or refused by its name."""

import dataclasses
import functools
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
from helpers import tiny_cnn
from torch import nn

from captum_spectral import (
    BandGame,
    FeatureSuppression,
    SpectralBanzhaf,
    SpectralForward,
    SpectralImportance,
    SpectralInteractions,
    SpectralShapley,
    band_attribution,
    find_boundary,
)
from captum_spectral._engine.outputs import tensor_of
from captum_spectral.game import OutputOf
from captum_spectral.weights import layer_responses

X = torch.rand(3, 3, 12, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MODEL = tiny_cnn()
KNOWN = SpectralShapley(MODEL).attribute(X, 1, num_bands=3, return_input_shape=False)


@dataclasses.dataclass
class Outputs:
    """As those of transformers."""

    logits: torch.Tensor
    loss: torch.Tensor | None = None


class Attributes:
    def __init__(self, **members):
        self.__dict__.update(members)


class Wrapped:
    """Like an array of another library."""

    def __init__(self, x):
        self._x = x

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._x, dtype)


Inception = namedtuple("Inception", ["logits", "aux_logits"])
Pair = namedtuple("Pair", ["scores", "features"])

SHAPES = {
    "array": lambda y: y.numpy(),
    "read-only array": lambda y: np.broadcast_to(y.numpy(), y.shape),
    "reversed array": lambda y: y.numpy()[:, ::-1].copy()[:, ::-1],
    "big-endian array": lambda y: y.numpy().astype(">f8"),
    "another library's array": lambda y: Wrapped(y),
    "lists": lambda y: y.tolist(),
    "tuples of numbers": lambda y: tuple(map(tuple, y.tolist())),
    "dict of logits": lambda y: {"loss": y.sum(), "logits": y},
    "logits rather than out": lambda y: {"out": 7 * y, "logits": y},
    "segmentation": lambda y: OrderedDict(out=y, aux=2 * y),
    "dict of arrays": lambda y: {"logits": y.numpy()},
    "dict of one": lambda y: {"anything": y, "text": "no numbers"},
    "dataclass": lambda y: Outputs(y),
    "dataclass of lists": lambda y: Outputs(y.tolist()),
    "attributes": lambda y: Attributes(out=2 * y, logits=y),
    "named tuple": lambda y: Inception(y, 2 * y),
    "named tuple of other names": lambda y: Pair(y, y[:, :2]),
    "tuple": lambda y: (y, y.sum()),
    "tuple of one": lambda y: (y,),
    "tuple of labels and scores": lambda y: (y.argmax(1), y),
    "tuple of a dict": lambda y: ({"logits": y}, "cached"),
    "session of one output": lambda y: [y.numpy()],
    "session of two": lambda y: [y.numpy().argmax(1), y.numpy()],
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_form_of_output_has_the_values_of_the_tensor(shape):
    found = SpectralShapley(lambda x: shape(MODEL(x).detach())).attribute(
        X, 1, num_bands=3, return_input_shape=False
    )
    torch.testing.assert_close(found, KNOWN, rtol=1e-12, atol=1e-12)


def test_one_number_per_row_in_any_form():
    of_row = MODEL(X)[:, 1].detach()
    for form in (of_row, of_row.numpy(), of_row.tolist(), tuple(of_row.tolist()), list(of_row)):
        torch.testing.assert_close(tensor_of(form), of_row, rtol=0, atol=0)


def test_numbers_keep_their_digits():
    assert tensor_of([1 / 3]).dtype is torch.float64
    assert tensor_of(np.float32([1])).dtype is torch.float32
    assert tensor_of(np.uint16([65535])).tolist() == [65535]
    assert tensor_of(np.longdouble([0.5])).dtype is torch.float64
    assert tensor_of(7) == 7
    assert tensor_of(np.float64(0.5)) == 0.5


BAD = [
    ("cat", r"a tensor of real numbers or a number, got str$"),
    (None, r"got NoneType$"),
    (torch.zeros(3, dtype=torch.complex64), r"got torch.complex64$"),
    (np.array(["a", "b"]), r"an array of <U1"),
    ([], r"a list of 0"),
    ([[1.0, 2.0], [1.0]], r"a list of 2 \(list\); make one of it with output="),
    ([{"label": "cat", "score": 0.5}], r"a list of 1 \(dict\); make one of it with output="),
    (
        {"boxes": torch.zeros(3, 4), "scores": torch.zeros(3)},
        r"dict with 'boxes', 'scores'; say which is meant with output='boxes'.*OutputOf\(model, 'b",
    ),
    ({}, "dict with nothing in it"),
    (Attributes(y=torch.zeros(3)), "got Attributes"),
    (
        (np.array([1, 2]), [{0: 0.5, 1: 0.5}] * 2),
        r"a tuple of 2 \(list, ndarray\); say which is meant with output=0",
    ),
]


@pytest.mark.parametrize(("returned", "message"), BAD)
def test_what_cannot_be_read_is_named(returned, message):
    for target in (None, 1):
        with pytest.raises(TypeError, match=message):
            SpectralShapley(lambda x: returned).attribute(X, target, num_bands=2)


def test_a_list_of_vectors_could_be_rows_or_outputs():
    with pytest.raises(TypeError, match=r"list of \d+, .*: the rows of one output, or sev"):
        SpectralShapley(lambda x: list(MODEL(x).numpy())).attribute(X, 1, num_bands=2)


def test_a_single_number_still_says_that_there_is_nothing_to_choose_from():
    with pytest.raises(ValueError, match=r"returns one number, .* use target=None"):
        SpectralShapley(lambda x: float(MODEL(x).sum())).attribute(X, 1, num_bands=2)


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = MODEL
        self.eval()

    def forward(self, x):
        return {"boxes": x.flatten(1)[:, :4], "scores": self.model(x)}


class TestTheChoice:
    OPTIONS = {"num_bands": 3, "return_input_shape": False}

    @pytest.mark.parametrize("output", ["scores", lambda returned: returned["scores"].tolist()])
    def test_is_a_key_or_a_function(self, output):
        found = SpectralShapley(Detector(), output=output).attribute(X, 1, **self.OPTIONS)
        torch.testing.assert_close(found, KNOWN)

    @pytest.mark.parametrize(
        ("of", "output"),
        [
            (lambda y: (2 * y, y), 1),
            (lambda y: [y.numpy()[:, 0], y.numpy()], 1),
            (lambda y: Pair(2 * y, y), "features"),
            (lambda y: Attributes(y=y), "y"),
            (lambda y: {0: 2 * y, 1: y}, 1),
        ],
    )
    def test_is_a_place_or_an_attribute(self, of, output):
        explainer = SpectralShapley(lambda x: of(MODEL(x).detach()), output=output)
        torch.testing.assert_close(explainer.attribute(X, 1, **self.OPTIONS), KNOWN)

    def test_is_there_wherever_a_model_is_given(self):
        target = MODEL(X).argmax(1)
        found, known = (
            [
                SpectralBanzhaf(m, output=output).attribute(X, target, num_bands=3),
                SpectralInteractions(m, output=output).attribute(X, target, num_bands=3).values,
                FeatureSuppression(m, output=output).attribute(
                    X, target, n_samples=2, generator=torch.Generator().manual_seed(0)
                ),
            ]
            for m, output in ((Detector(), "scores"), (MODEL, None))
        )
        assert all(map(torch.equal, found, known))
        game = BandGame(Detector(), X, 1, num_bands=3, output="scores")
        torch.testing.assert_close(game.solve(game.estimator()).values.to(KNOWN), KNOWN)
        boundary = find_boundary(OutputOf(Detector(), "scores"), X, target)
        assert torch.equal(boundary.points, find_boundary(MODEL, X, target).points)

    def test_is_differentiable(self):
        from captum.attr import IntegratedGradients

        found, known = (
            band_attribution(IntegratedGradients, m, X, 1, num_bands=3, n_steps=4, output=output)
            for m, output in ((Detector(), "scores"), (MODEL, None))
        )
        assert torch.equal(found, known)

    def test_that_is_not_there_is_named_with_those_that_are(self):
        for output in ("logits", 2):
            with pytest.raises(KeyError, match=rf"output={output!r} is not in .*'boxes', 'scores'"):
                SpectralShapley(Detector(), output=output).attribute(X, 1, num_bands=2)

    @pytest.mark.parametrize("output", [1.5, True, ("a", "b")])
    def test_of_another_kind_is_refused(self, output):
        with pytest.raises(TypeError, match=r"output must be a key or place .*, got"):
            SpectralShapley(MODEL, output=output)

    def test_sees_the_mode_of_the_model(self):
        noisy = nn.Sequential(nn.Flatten(), nn.Dropout(0.5))
        with pytest.warns(UserWarning, match="training mode"):
            BandGame(noisy, X, output=lambda y: y)
        BandGame(noisy.eval(), X, output=lambda y: y)


def test_functions_of_numpy_run_as_they_are():
    weights = np.random.default_rng(0).normal(size=(360, 4))

    def predict(x):
        assert isinstance(x, np.ndarray)
        return x.reshape(len(x), -1) @ weights

    found = SpectralShapley(lambda x: predict(x.numpy())).attribute(X, 2, num_bands=2)
    known = SpectralShapley(lambda x: x.flatten(1) @ torch.from_numpy(weights))
    torch.testing.assert_close(found, known.attribute(X, 2, num_bands=2))


def test_a_classifier_of_scikit_learn_runs_as_it_is():
    linear = pytest.importorskip("sklearn.linear_model")
    flat, labels = X.flatten(1).numpy(), [0, 1, 1]
    classifier = linear.LogisticRegression().fit(flat, labels)
    explainer = SpectralShapley(lambda x: classifier.predict_proba(x.flatten(1).numpy()))
    bands, delta = explainer.attribute(
        X, 1, num_bands=3, return_input_shape=False, return_convergence_delta=True
    )
    ends = (classifier.predict_proba(z)[:, 1] for z in (flat, 0 * flat))
    full, empty = map(torch.from_numpy, ends)
    torch.testing.assert_close(bands.sum(1), full - empty)
    assert delta.abs().max() < 1e-12
    signals = X.flatten(1)
    method = SpectralShapley(classifier.predict_proba).attribute(
        signals, 1, num_bands=3, spectral_dims=-1, return_input_shape=False
    )
    torch.testing.assert_close(method.sum(1), full - empty)


def session_of(weight, more=()):
    """A session of a linear model of flat inputs, with the outputs of other weights beside it."""
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    helper = onnx.helper
    weights = {"y": weight, **{f"y{i}": w for i, w in enumerate(more)}}
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            *(helper.make_node("MatMul", ["flat", f"w_{name}"], [name]) for name in weights),
        ],
        "linear",
        [helper.make_tensor_value_info("x", 1, ["B", 3, 12, 10])],
        [helper.make_tensor_value_info(y, 1, ["B", w.shape[1]]) for y, w in weights.items()],
        [onnx.numpy_helper.from_array(w, f"w_{name}") for name, w in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return runtime.InferenceSession(made.SerializeToString())


def test_a_session_of_onnx_runtime_runs_as_it_is():
    generator = np.random.default_rng(0)
    weight, other = generator.normal(size=(2, 360, 4)).astype(np.float32)
    session = session_of(weight, [other])
    x = X.float()
    known = [
        SpectralShapley(lambda x, w=w: x.flatten(1) @ torch.from_numpy(w)).attribute(
            x, 2, num_bands=2
        )
        for w in (weight, other)
    ]
    for forward in (session, lambda x: session.run(None, {"x": x.numpy()})):
        found = SpectralShapley(forward).attribute(x, 2, num_bands=2)
        torch.testing.assert_close(found, known[0], rtol=1e-4, atol=1e-5)
    second = SpectralShapley(session, output=1).attribute(X, 2, num_bands=2)  # double, too
    torch.testing.assert_close(second, known[1], rtol=1e-4, atol=1e-5)
    result = SpectralImportance(session, num_bands=2)
    result.update(x, torch.tensor([0, 1, 2]))
    assert result.compute().num_examples == 3
    with pytest.raises(ValueError, match=r"a session with the inputs \['x'\], got 2"):
        SpectralShapley(session).attribute(x, 2, num_bands=2, additional_forward_args=X)


def test_what_cannot_be_called_is_refused_with_the_function_to_give():
    class Estimator:
        def predict_proba(self, x):
            return x

    for make in (SpectralImportance, lambda model: BandGame(model, X)):
        with pytest.raises(TypeError, match=r"got Estimator; give a function of it: lambda x: mod"):
            make(Estimator())
    with pytest.raises(TypeError, match=r"forward_func must be callable, got float$"):
        BandGame(3.5, X)


def test_a_classifier_of_transformers_runs_as_it_is():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=16,
        patch_size=8,
        num_labels=4,
    )
    model = transformers.ViTForImageClassification(config).eval()
    x = torch.rand(2, 3, 16, 16)
    found = SpectralShapley(model).attribute(x, 3, num_bands=3)
    known = SpectralShapley(lambda x: model(x).logits).attribute(x, 3, num_bands=3)
    assert torch.equal(found, known)
    result = SpectralImportance(model, num_bands=2)
    result.update(x, torch.tensor([0, 3]))
    assert result.compute().num_examples == 2


def test_a_segmentation_of_torchvision_runs_as_it_is_at_a_pixel_of_a_class():
    models = pytest.importorskip("torchvision.models.segmentation")
    model = models.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    x = torch.rand(1, 3, 32, 32)
    explainer = SpectralShapley(model.eval())
    bands, delta = explainer.attribute(
        x, (2, 5, 7), num_bands=2, return_input_shape=False, return_convergence_delta=True
    )
    with torch.no_grad():
        gain = (model(x)["out"] - model(0 * x)["out"])[:, 2, 5, 7]
    torch.testing.assert_close(bands.sum(1), gain, atol=1e-5, rtol=1e-4)
    assert delta.abs().max() < 1e-5


def test_a_method_and_a_partial_call_of_a_module_are_looked_into():
    noisy = nn.Sequential(nn.Flatten(), nn.Dropout(0.5))
    for model in (noisy.forward, functools.partial(noisy.forward)):
        with pytest.warns(UserWarning, match="training mode"):
            BandGame(model, X)


def test_the_spectrum_of_an_input_goes_through_the_same_door():
    spectral = SpectralForward(lambda x: {"logits": MODEL(x)}, (12, 10))
    coefficients = spectral.coefficients(X)
    torch.testing.assert_close(spectral(coefficients), MODEL(X))


def test_layers_are_looked_into_whatever_their_model_returns():
    class Boxes(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3).double()

        def forward(self, x):
            return [{"boxes": self.first(x)}] * len(x)

    assert [layer.name for layer in layer_responses(Boxes().eval(), X)] == ["first"]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_sparse_outputs_are_read_and_nested_or_empty_ones_refused():
    found = SpectralShapley(lambda x: MODEL(x).to_sparse()).attribute(X, 1, num_bands=2)
    torch.testing.assert_close(found, SpectralShapley(MODEL).attribute(X, 1, num_bands=2))
    for returned, kind in (
        (torch.nested.nested_tensor([X[0], X[0]]), "nested, of"),
        (X.to("meta"), "on the meta device, of"),
    ):
        with pytest.raises(
            TypeError, match=rf"a tensor of real numbers .* got {kind} torch.float64"
        ):
            tensor_of(returned)
    with pytest.raises(ValueError, match="inputs must hold numbers, and is on the meta device"):
        SpectralShapley(MODEL).attribute(X.to("meta"), 1)


def test_a_class_in_place_of_a_model_is_named():
    with pytest.raises(
        TypeError, match=r"a model, got the class Detector; make one: Detector\(\.\.\.\)"
    ):
        BandGame(Detector, X)
