"""What Captum and its users rely on. One entry per configuration, one test per property.

A new attribution method is one more entry in ``CONFIGS``.
"""

import inspect
import io
import warnings
from contextlib import redirect_stderr

import pytest
import torch
from captum.attr import GradientAttribution, NoiseTunnel, PerturbationAttribution
from captum.attr import visualization as captum_viz
from captum.attr._utils.stat import CommonStats
from captum.attr._utils.summarizer import Summarizer
from captum.metrics import infidelity, sensitivity_max
from captum.robust import AttackComparator, MinParamPerturbation
from helpers import Counting, Quadratic, brute_force, tiny_cnn
from torch import nn

from captum_spectral import (
    BoundaryIntegratedGradients,
    BoundarySaliency,
    FeatureSuppression,
    SpectralShapley,
    band_mask,
    find_boundary,
    split_bands,
)

SWALLOWED_BY_WRAPPERS = {
    "nt_type",
    "nt_samples",
    "nt_samples_batch_size",
    "stdevs",
    "draw_baseline_from_distrib",
    "perturb_func",
    "perturb_radius",
    "n_perturb_samples",
    "norm_ord",
    "max_examples_per_batch",
}


class Spatial(nn.Module):
    """A model whose outputs have two dims: (B, 4, 5)."""

    def __init__(self):
        super().__init__()
        self.body = tiny_cnn(1, 20)
        self.eval()

    def forward(self, x):
        return self.body(x).reshape(-1, 4, 5)


class WithArgs(nn.Module):
    """A model of an image, a number per example, and an option that is no tensor."""

    def __init__(self, seed=0):
        super().__init__()
        self.body = tiny_cnn(1, seed=seed)
        self.eval()

    def forward(self, x, scale, table, power=1):
        assert table.shape == (7,)  # not one per example: passed through as it is
        return self.body(x) * scale[:, None] ** power + table.sum()


X = torch.rand(3, 1, 10, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MASK = band_mask((10, 12), 3)
CONFIGS = [
    {"name": "int target", "model": tiny_cnn(1), "inputs": X, "args": {"target": 2}},
    {"name": "list target", "model": tiny_cnn(1), "inputs": X, "args": {"target": [0, 3, 1]}},
    {
        "name": "tensor target",
        "model": tiny_cnn(1),
        "inputs": X,
        "args": {"target": torch.tensor([4, 0, 2])},
    },
    {
        "name": "one-element tensor target",
        "model": tiny_cnn(1),
        "inputs": X,
        "args": {"target": torch.tensor([1])},
    },
    {"name": "tuple target", "model": Spatial(), "inputs": X, "args": {"target": (2, 3)}},
    {
        "name": "list of tuple targets",
        "model": Spatial(),
        "inputs": X,
        "args": {"target": [(0, 1), (3, 4), (2, 0)]},
    },
    {
        "name": "additional arguments",
        "model": WithArgs(),
        "inputs": X,
        "args": {
            "target": [0, 3, 1],
            "additional_forward_args": (
                torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64),
                torch.arange(7.0),
                2,
            ),
        },
    },
    {
        "name": "two inputs",
        "model": Quadratic((1, 10, 12), (2, 9, 8)),
        "inputs": (X, torch.rand(3, 2, 9, 8, dtype=torch.float64)),
        "args": {"target": [2, 0, 1], "baselines": (X.flip(0), 0.1)},
    },
    {
        "name": "a tuple of one",
        "model": tiny_cnn(1),
        "inputs": (X,),
        "args": {"target": 0, "baselines": (X.mean(0, keepdim=True),)},
    },
]
METHODS = [
    {"algorithm": SpectralShapley, "args": {"num_bands": 3}},
    {"algorithm": SpectralShapley, "args": {"num_bands": 3, "n_samples": 2}, "seeded": True},
]
SUPPRESSION_METHODS = [
    {"algorithm": FeatureSuppression, "args": {"n_samples": 3}, "seeded": True},
    {
        "algorithm": FeatureSuppression,
        "args": {"n_samples": 3, "domain": "frequency", "num_bands": 3, "absolute": False},
        "seeded": True,
    },
]
# Only what a classifier predicts has a boundary around it: one class for all, or 4, 1 and 4.
ONE_CLASS, SOME_CLASSES = tiny_cnn(1), tiny_cnn(1, seed=4)
PREDICTED = {
    "int target": {"model": ONE_CLASS, "args": {"target": 2}},
    "list target": {"model": SOME_CLASSES, "args": {"target": [4, 1, 4]}},
    "tensor target": {"model": SOME_CLASSES, "args": {"target": torch.tensor([4, 1, 4])}},
    "one-element tensor target": {"model": ONE_CLASS, "args": {"target": torch.tensor([2])}},
    "additional arguments": {"model": WithArgs(4), "args": {"target": [4, 1, 4]}},
    "a tuple of one": {
        "model": ONE_CLASS,
        "args": {"target": 2, "baselines": find_boundary(ONE_CLASS, (X,), 2).points},
    },
}
CONFIGS_OF_PREDICTIONS = [
    {**c, **PREDICTED[c["name"]], "args": {**c["args"], **PREDICTED[c["name"]]["args"]}}
    for c in CONFIGS
    if c["name"] in PREDICTED
]
BOUNDARY_METHODS = [
    {"algorithm": BoundarySaliency, "args": {"score": "margin"}, "rows": 1},
    {"algorithm": BoundaryIntegratedGradients, "args": {"n_steps": 7}, "rows": 7},
]


def pairs(configs, methods):
    return [
        pytest.param(
            m,
            c,
            id="-".join(map(str, (m["algorithm"].__name__, *m["args"].values(), c["name"]))),
        )
        for m in methods
        for c in configs
    ]


def cases(pairs):
    return pytest.mark.parametrize(("method", "config"), pairs)


def without_other_args(configs):
    """NoiseTunnel and the metrics repeat every tensor, also one that is not per example."""
    return [c for c in configs if c["name"] != "additional arguments"]


OF_GRADIENTS = pairs(CONFIGS, SUPPRESSION_METHODS) + pairs(CONFIGS_OF_PREDICTIONS, BOUNDARY_METHODS)
THAT_WRAPPERS_REPEAT = pairs(without_other_args(CONFIGS), METHODS)
OF_GRADIENTS_THAT_WRAPPERS_REPEAT = pairs(without_other_args(CONFIGS), SUPPRESSION_METHODS) + pairs(
    without_other_args(CONFIGS_OF_PREDICTIONS), BOUNDARY_METHODS
)


def tuples(x):
    return x if isinstance(x, tuple) else (x,)


def run(method, config, model=None, inputs=None, **overrides):
    torch.manual_seed(0)
    args = {**method["args"], **config["args"], **overrides}
    explainer = method["algorithm"](config["model"] if model is None else model)
    return explainer.attribute(config["inputs"] if inputs is None else inputs, **args)


def with_points(method, config):
    """The arguments, with boundary points where the method would search for them."""
    args = {**method["args"], **config["args"]}
    if method in BOUNDARY_METHODS and "baselines" not in args:
        args["baselines"] = find_boundary(
            config["model"],
            config["inputs"],
            args["target"],
            additional_forward_args=args.get("additional_forward_args"),
        ).points
    return args


def copied(value):
    """A copy of an argument: a tensor of inference mode where that is on."""
    if isinstance(value, (tuple, list)):
        return type(value)(map(copied, value))
    return value.clone() if isinstance(value, torch.Tensor) else value


def of_example(value, e, num_examples=3):
    """What belongs to example ``e`` in an argument, the way a user would cut it out."""
    if isinstance(value, tuple):
        return tuple(of_example(v, e) for v in value)
    if isinstance(value, list) and len(value) == num_examples:
        return value[e : e + 1]
    if isinstance(value, torch.Tensor) and value.dim() and len(value) == num_examples:
        return value[e : e + 1]
    return value


@cases(pairs(CONFIGS, METHODS) + OF_GRADIENTS)
class TestEveryConfigurationOfEveryMethod:
    def test_shape_and_kind_follow_the_inputs(self, method, config):
        result = run(method, config)
        assert isinstance(result, tuple) == isinstance(config["inputs"], tuple)
        for r, x in zip(tuples(result), tuples(config["inputs"]), strict=True):
            assert r.shape == x.shape
            assert r.is_contiguous()  # metrics take views

    def test_a_batch_equals_one_example_at_a_time(self, method, config):
        together = tuples(run(method, config))
        for e in range(3):
            alone = {k: of_example(v, e) for k, v in config["args"].items()}
            if isinstance(config["args"].get("target"), tuple):
                alone["target"] = config["args"]["target"]
            single = tuples(run(method, config, inputs=of_example(config["inputs"], e), **alone))
            for a, b in zip(together, single, strict=True):
                torch.testing.assert_close(a[e : e + 1], b, rtol=1e-9, atol=1e-12)

    def test_data_parallel_equals_the_model(self, method, config):
        wrapped = nn.DataParallel(config["model"]).eval()
        for a, b in zip(
            tuples(run(method, config, wrapped)), tuples(run(method, config)), strict=True
        ):
            torch.testing.assert_close(a, b)

    def test_nothing_is_left_changed(self, method, config):
        model = config["model"]
        parameters = [p.clone() for p in model.parameters()]
        modes = [m.training for m in model.modules()]
        inputs = [x.clone() for x in tuples(config["inputs"])]
        needs_grad = tuple(x.clone().requires_grad_() for x in inputs)
        state = torch.get_rng_state()
        generator = torch.Generator().manual_seed(0)
        arguments = {**method["args"], **config["args"], "generator": generator}
        given = needs_grad if isinstance(config["inputs"], tuple) else needs_grad[0]
        method["algorithm"](model).attribute(given, **arguments)
        assert torch.equal(torch.get_rng_state(), state)
        if not method.get("seeded"):
            assert torch.equal(generator.get_state(), torch.Generator().manual_seed(0).get_state())
        assert [m.training for m in model.modules()] == modes
        assert all(map(torch.equal, model.parameters(), parameters))
        assert all(p.grad is None for p in model.parameters())
        assert all(x.grad is None and x.requires_grad for x in needs_grad)
        assert all(map(torch.equal, needs_grad, inputs))
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())

    def test_the_progress_bar_has_the_methods_name_and_ends_at_100_percent(self, method, config):
        with redirect_stderr(io.StringIO()) as shown:
            run(method, config, show_progress=True)
        last = shown.getvalue().strip().split("\r")[-1]
        name = method["algorithm"](config["model"]).get_name()
        assert last.startswith(f"{name} attribution: 100%")


@cases(OF_GRADIENTS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_are_taken_where_the_caller_has_switched_them_off(method, config, mode):
    expected = tuples(run(method, config))
    with mode():
        args = {name: copied(value) for name, value in config["args"].items()}
        result = run(method, config, inputs=copied(config["inputs"]), **args)
    for a, b in zip(tuples(result), expected, strict=True):
        assert torch.equal(a, b)
        assert not a.requires_grad


@cases(pairs(CONFIGS, METHODS))
class TestEveryConfiguration:
    @pytest.mark.parametrize("per_eval", [1, 2, 5, 100])
    def test_perturbations_per_eval_changes_rows_per_forward_and_nothing_else(
        self, method, config, per_eval
    ):
        model = Counting(config["model"])
        result = tuples(run(method, config, model, perturbations_per_eval=per_eval))
        for a, b in zip(result, tuples(run(method, config)), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
        assert max(shape[0] for shape in model.shapes) <= per_eval * 3

    def test_the_delta_is_the_efficiency_gap_per_example(self, method, config):
        result, delta = run(method, config, return_convergence_delta=True)
        assert delta.shape == (3,)
        assert delta.abs().max() < 1e-10
        again = method["algorithm"](config["model"]).compute_convergence_delta(
            result,
            config["args"].get("baselines"),
            config["inputs"],
            config["args"]["target"],
            config["args"].get("additional_forward_args"),
            num_bands=3,
        )
        torch.testing.assert_close(again, delta, rtol=0, atol=1e-10)

    def test_band_values_are_what_is_painted(self, method, config):
        painted = tuples(run(method, config))
        values = run(method, config, return_input_shape=False)
        assert values.shape == (3, 3 * len(painted))
        for t, p in enumerate(painted):
            assert torch.equal(p.flatten(1)[:, 0], values[:, 3 * t])  # DC is in the lowest band


@cases(THAT_WRAPPERS_REPEAT)
class TestEveryConfigurationThatWrappersRepeat:
    def test_scripted_and_traced_models_equal_eager(self, method, config):
        inputs = tuples(config["inputs"])
        eager = tuples(run(method, config))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit says that it is deprecated
            jitted = [torch.jit.trace(config["model"], inputs)]
            if config["name"] != "two inputs":  # *inputs cannot be scripted
                jitted.append(torch.jit.script(config["model"]))
            for model in jitted:
                for a, b in zip(tuples(run(method, config, model)), eager, strict=True):
                    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("nt_type", ["smoothgrad", "smoothgrad_sq", "vargrad"])
    def test_noise_tunnel(self, method, config, nt_type):
        args = {**method["args"], **config["args"]}
        result, delta = NoiseTunnel(method["algorithm"](config["model"])).attribute(
            config["inputs"],
            nt_type=nt_type,
            nt_samples=2,
            stdevs=0.1,
            return_convergence_delta=True,
            **args,
        )
        assert delta.shape == (6,)
        assert delta.abs().max() < 1e-10
        for r, x in zip(tuples(result), tuples(config["inputs"]), strict=True):
            assert r.shape == x.shape


@cases(THAT_WRAPPERS_REPEAT + OF_GRADIENTS_THAT_WRAPPERS_REPEAT)
def test_sensitivity_max(method, config):
    explainer = method["algorithm"](config["model"])
    sensitivity = sensitivity_max(
        explainer.attribute,
        config["inputs"],
        n_perturb_samples=2,
        **with_points(method, config),
    )
    assert sensitivity.shape == (3,)
    if method["algorithm"] is BoundarySaliency:  # given points do not follow the inputs
        assert sensitivity.max() < 1e-12
    else:
        assert sensitivity.min() > 0
        assert sensitivity.isfinite().all()


@cases(OF_GRADIENTS_THAT_WRAPPERS_REPEAT)
class TestEveryConfigurationOfGradientsThatWrappersRepeat:
    @pytest.mark.parametrize("nt_type", ["smoothgrad", "smoothgrad_sq", "vargrad"])
    def test_noise_tunnel_searches_nothing_again(self, method, config, nt_type):
        args = with_points(method, config)
        model = Counting(config["model"])
        result = NoiseTunnel(method["algorithm"](model)).attribute(
            config["inputs"], nt_type=nt_type, nt_samples=2, stdevs=0.01, **args
        )
        for r, x in zip(tuples(result), tuples(config["inputs"]), strict=True):
            assert r.shape == x.shape
            assert r.isfinite().all()
        # Given points cost a row that checks them.
        rows = 1 + method["rows"] if "rows" in method else args["n_samples"]
        assert model.rows == 2 * 3 * rows
        if method["algorithm"] is BoundarySaliency:  # the noise does not reach given points
            (alone,) = tuples(method["algorithm"](model).attribute(config["inputs"], **args))
            same = {"smoothgrad": alone, "smoothgrad_sq": alone.square(), "vargrad": 0 * alone}
            torch.testing.assert_close(tuples(result)[0], same[nt_type], rtol=1e-9, atol=1e-12)

    def test_infidelity(self, method, config):
        def perturb(inputs):
            noise = tuple(0.01 * torch.randn_like(x) for x in tuples(inputs))
            perturbed = tuple(x - n for x, n in zip(tuples(inputs), noise, strict=True))
            return (noise, perturbed) if isinstance(inputs, tuple) else (noise[0], perturbed[0])

        value = infidelity(
            config["model"],
            perturb,
            config["inputs"],
            run(method, config),
            target=config["args"]["target"],
            n_perturb_samples=3,
        )
        assert value.shape == (3,)
        assert value.isfinite().all()


@cases(pairs(CONFIGS_OF_PREDICTIONS, BOUNDARY_METHODS[1:]))
def test_the_delta_of_integrated_gradients_is_that_of_captum(method, config):
    points = with_points(method, config)["baselines"]
    result, delta = run(method, config, return_convergence_delta=True)
    assert delta.shape == (3,)
    assert delta.abs().max() < 1e-3
    again = method["algorithm"](config["model"]).compute_convergence_delta(
        result,
        points,
        config["inputs"],
        config["args"]["target"],
        config["args"].get("additional_forward_args"),
    )
    torch.testing.assert_close(again, delta, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        (SpectralShapley, PerturbationAttribution),
        (FeatureSuppression, GradientAttribution),
        (BoundarySaliency, GradientAttribution),
        (BoundaryIntegratedGradients, GradientAttribution),
    ],
)
class TestEveryMethod:
    def test_it_is_a_captum_class_whose_arguments_no_wrapper_swallows(self, method, kind):
        assert issubclass(method, kind)
        names = set(inspect.signature(method.attribute).parameters)
        assert not names & SWALLOWED_BY_WRAPPERS
        assert hasattr(method.attribute, "__wrapped__")
        assert list(inspect.signature(method.__init__).parameters) == ["self", "forward_func"]

    def test_small_print(self, method, kind):
        explainer = method(tiny_cnn())
        completes = method in (SpectralShapley, BoundaryIntegratedGradients)
        assert explainer.multiplies_by_inputs is completes
        assert explainer.has_convergence_delta() is completes
        assert explainer.get_name().replace(" ", "") == method.__name__
        assert explainer.get_name().count(" ") == sum(map(str.isupper, method.__name__)) - 1
        message = f"attribute_future is not implemented for {method.__name__}"
        with pytest.raises(NotImplementedError, match=message):
            explainer.attribute_future()

    def test_it_is_called_positionally(self, method, kind):
        model, inputs = tiny_cnn(), torch.rand(2, 3, 32, 32).double()
        target = model(inputs).argmax(1)
        torch.manual_seed(0)
        by_position = method(model).attribute(inputs, target)
        torch.manual_seed(0)
        assert torch.equal(by_position, method(model).attribute(inputs=inputs, target=target))


@pytest.mark.parametrize("method", METHODS[:1] + SUPPRESSION_METHODS)
def test_a_bad_tuple_target_is_captums_assertion(method):
    with pytest.raises(AssertionError, match="Cannot choose target column"):
        method["algorithm"](tiny_cnn(1)).attribute(X, (0, 1, 2), **method["args"])


def test_the_signature_is_the_documented_one():
    signature = inspect.signature(SpectralShapley.attribute.__wrapped__)
    defaults = {k: p.default for k, p in list(signature.parameters.items())[2:]}
    assert list(signature.parameters)[:2] == ["self", "inputs"]
    assert list(defaults.items()) == [
        ("target", None),
        ("baselines", None),
        ("additional_forward_args", None),
        ("feature_mask", None),
        ("num_bands", 8),
        ("spectral_dims", (-2, -1)),
        ("n_samples", None),
        ("perturbations_per_eval", None),
        ("return_input_shape", True),
        ("return_convergence_delta", False),
        ("return_standard_error", False),
        ("generator", None),
        ("show_progress", False),
    ]


# ------------------------------------------------------------------------------- layouts and dtypes

IMAGES = torch.rand(3, 2, 10, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LAYOUTS = {
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.mT.contiguous().mT,
    "expanded": lambda x: x[:1].expand_as(x),
}
GRADIENT_METHODS = pytest.mark.parametrize(
    "method",
    SUPPRESSION_METHODS + BOUNDARY_METHODS,
    ids=lambda m: "-".join(map(str, (m["algorithm"].__name__, *m["args"].values()))),
)


def predicted(model, x):
    with torch.no_grad():
        return model(x).argmax(1)


@GRADIENT_METHODS
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("given_baselines", [False, True])
def test_results_are_contiguous_whatever_the_layout(method, layout, given_baselines):
    model, inputs = tiny_cnn(2), LAYOUTS[layout](IMAGES)
    assert not inputs.is_contiguous()
    args = {"target": predicted(model, inputs)}
    if given_baselines:
        args["baselines"] = find_boundary(model, inputs, args["target"]).points
    config = {"model": model, "args": args}
    result = run(method, config, inputs=inputs)
    assert result.is_contiguous()
    torch.testing.assert_close(result, run(method, config, inputs=inputs.contiguous()))


@GRADIENT_METHODS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("given_baselines", [False, True])
def test_half_precision_is_the_models_and_results_are_float32(method, dtype, given_baselines):
    def model(x):
        seen.add(x.dtype)
        return network(x)

    seen, network, inputs = set(), tiny_cnn(2, seed=1, dtype=dtype), IMAGES.to(dtype)
    args = {"target": predicted(network, inputs)}
    if given_baselines:
        points = find_boundary(network, inputs, args["target"]).points
        args["baselines"] = inputs + 1.1 * (points - inputs)  # across in float64, too
    if method in SUPPRESSION_METHODS:
        args["return_standard_error"] = True
    if method["algorithm"] is BoundaryIntegratedGradients:
        args["return_convergence_delta"] = True
    results = tuples(run(method, {"model": model, "inputs": inputs, "args": args}))
    assert seen == {dtype}
    assert {r.dtype for r in results} == {torch.float32}
    assert all(r.isfinite().all() for r in results)
    if given_baselines:
        args["baselines"] = args["baselines"].double()
        exact = run(method, {"model": network.double(), "inputs": inputs.double(), "args": args})
        difference, exact = results[0] - tuples(exact)[0], tuples(exact)[0]
        assert difference.norm() < 0.05 * exact.norm()


# ------------------------------------------------------------------------------- outputs


@pytest.mark.parametrize("per_eval", [None, 1])
@pytest.mark.parametrize("kind", ["0-d", "shape (1,)", "python number"])
@pytest.mark.parametrize("num_examples", [1, 3, 8])
def test_one_number_per_batch(kind, per_eval, num_examples):
    model = Quadratic((1, 10, 12))
    x = torch.rand(num_examples, 1, 10, 12, dtype=torch.float64)

    def whole_batch(x):
        total = model(x).sum()
        return {"0-d": total, "shape (1,)": total[None], "python number": float(total)}[kind]

    args = {"num_bands": 3, "perturbations_per_eval": per_eval}
    phi = SpectralShapley(whole_batch).attribute(x, return_input_shape=False, **args)
    per_row = SpectralShapley(model).attribute(x, return_input_shape=False, **args)
    assert phi.shape == (1, 3)
    torch.testing.assert_close(phi[0], per_row.sum((0, 1)))
    assert SpectralShapley(whole_batch).attribute(x, **args).shape == (1, 1, 10, 12)


def test_one_number_per_batch_costs_one_forward_per_coalition():
    counting = Counting(lambda x: x.sum())
    SpectralShapley(counting).attribute(X, num_bands=3, perturbations_per_eval=1)
    assert counting.shapes == [(3, 1, 10, 12)] * 2**3


@pytest.mark.parametrize("per_example", [True, False])
def test_an_output_per_example_or_all_outputs_from_the_same_forwards(per_example):
    model = Counting(tiny_cnn(1))
    if per_example:
        shape = SpectralShapley(lambda x: model(x)[:, 1]).attribute(X, num_bands=3).shape
        assert shape == (3, 1, 10, 12)
    else:
        every = SpectralShapley(model).attribute(X, num_bands=3, return_input_shape=False)
        assert every.shape == (3, 5, 3)
        for k in range(5):
            one = SpectralShapley(model.model).attribute(
                X, k, num_bands=3, return_input_shape=False
            )
            torch.testing.assert_close(every[:, k], one)
        painted, delta = SpectralShapley(model.model).attribute(
            X, num_bands=3, return_convergence_delta=True
        )
        assert painted.shape == (3, 5, 1, 10, 12)
        assert delta.shape == (3, 5)
    assert model.rows == 3 * 2**3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.int64, torch.float32),
    ],
)
def test_values_are_accumulated_in_float32_or_better(given, expected):
    def model(x):
        return (100 * x.double().flatten(1).sum(1)).to(given)

    result = SpectralShapley(model).attribute(X, num_bands=2, return_input_shape=False)
    assert result.dtype is expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_model_sees_the_dtype_of_the_inputs(dtype):
    seen = []

    def model(x):
        seen.append(x.dtype)
        return x.float().flatten(1).square().sum(1)

    x = X.to(dtype)
    phi = SpectralShapley(model).attribute(x, num_bands=3, return_input_shape=False)
    assert set(seen) == {dtype}
    exact = SpectralShapley(lambda x: x.flatten(1).square().sum(1)).attribute(
        x.double(), num_bands=3, return_input_shape=False
    )
    torch.testing.assert_close(phi.double(), exact, rtol=0.02, atol=0.05)


def test_each_coalition_is_one_row_and_sampling_stays_in_its_budget():
    counting = Counting(tiny_cnn(1))
    SpectralShapley(counting).attribute(X, 0, num_bands=4)
    assert counting.rows == 3 * 2**4
    counting = Counting(tiny_cnn(1))
    SpectralShapley(counting).attribute(X, 0, num_bands=4, n_samples=2)
    assert counting.rows <= 3 * (2 * 2 * 3 + 2)


def test_a_band_that_no_bin_has_costs_nothing_and_gets_nothing():
    mask = band_mask((10, 12), 3) * 2  # ids 0, 2, 4
    counting = Counting(tiny_cnn(1))
    with pytest.warns(UserWarning, match="missing 2 of the integers between 0 and 4"):
        phi = SpectralShapley(counting).attribute(X, 0, feature_mask=mask, return_input_shape=False)
    assert counting.rows == 3 * 2**3
    assert phi.shape == (3, 5)
    assert not phi[:, [1, 3]].any()
    dense = SpectralShapley(tiny_cnn(1)).attribute(X, 0, num_bands=3, return_input_shape=False)
    torch.testing.assert_close(phi[:, ::2], dense)


def test_rows_are_stacked_coalition_by_coalition():
    # Captum's ExpansionTypes.repeat: row = k * B + b.
    seen = []

    def model(x, index):
        seen.append(index.tolist())
        return x.flatten(1).sum(1)

    SpectralShapley(model).attribute(
        X, num_bands=2, additional_forward_args=torch.arange(3), perturbations_per_eval=2
    )
    assert seen == [[0, 1, 2, 0, 1, 2]] * 2


def test_standard_error_is_painted_like_the_attributions_and_zero_when_exact():
    for n_samples in (None, 3):
        phi, delta, error = SpectralShapley(tiny_cnn(1)).attribute(
            X,
            0,
            num_bands=5,
            n_samples=n_samples,
            return_convergence_delta=True,
            return_standard_error=True,
        )
        assert error.shape == phi.shape
        assert delta.shape == (3,)
        assert bool(error.any()) == (n_samples is not None)


def test_a_seed_reproduces_the_orderings_whatever_the_batch():
    explainer = SpectralShapley(tiny_cnn(1))

    def draw(x, seed):
        generator = torch.Generator().manual_seed(seed)
        return explainer.attribute(
            x, 0, num_bands=4, n_samples=2, return_input_shape=False, generator=generator
        )

    assert torch.equal(draw(X, 1), draw(X, 1))
    assert not torch.equal(draw(X, 1), draw(X, 2))
    torch.testing.assert_close(draw(X, 1)[:1], draw(X[:1], 1))


# ------------------------------------------------------------------------------- the rest


def test_summarizer_takes_painted_attributions():
    summary = Summarizer(CommonStats())
    for image in X.split(1):
        summary.update(SpectralShapley(tiny_cnn(1)).attribute(image, 0, num_bands=3))
    assert summary.summary["mean"].shape == X[:1].shape


def test_captums_figure_takes_an_fftshifted_painted_map():
    painted = SpectralShapley(tiny_cnn(1)).attribute(X[:1], 0, num_bands=3)
    shifted = torch.fft.fftshift(painted, dim=(-2, -1))[0].permute(1, 2, 0).numpy()
    figure, _ = captum_viz.visualize_image_attr(
        shifted, sign="all", show_colorbar=True, use_pyplot=False
    )
    assert figure.axes


def low_pass(x, keep):
    return split_bands(x, band_mask(x.shape[-2:], 4))[:, :keep].sum(1)


def test_the_lowest_cut_off_that_changes_the_prediction_by_min_param_perturbation():
    images = torch.rand(1, 1, 10, 12).double()
    search = MinParamPerturbation(
        forward_func=lambda x: torch.stack([x.amax((1, 2, 3)), 0.5 + 0 * x.amax((1, 2, 3))], 1),
        attack=lambda x, dropped: low_pass(x, 4 - dropped),
        arg_name="dropped",
        arg_min=0,
        arg_max=5,
        arg_step=1,
        mode="linear",
    )
    _, dropped = search.evaluate(images, target=0)
    expected = next(d for d in range(5) if low_pass(images, 4 - d).amax() < 0.5)
    assert dropped == expected


def test_attack_comparator_takes_a_band_filter():
    model = tiny_cnn(1)
    comparator = AttackComparator(forward_func=model, metric=lambda out: out.argmax(1).double())
    comparator.add_attack(low_pass, "low pass", attack_kwargs={"keep": 1})
    result = comparator.evaluate(X)
    assert "low pass" in result


def test_a_compiled_model_equals_eager():
    model = tiny_cnn(1).float()
    x = X.float()
    compiled = torch.compile(model, backend="aot_eager")
    torch.testing.assert_close(
        SpectralShapley(compiled).attribute(x, 1, num_bands=3),
        SpectralShapley(model).attribute(x, 1, num_bands=3),
    )


def test_autocast_inside_the_forward_is_the_callers_choice():
    model = tiny_cnn(1).float()

    def forward(x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return model(x)

    phi = SpectralShapley(forward).attribute(X.float(), 1, num_bands=3, return_input_shape=False)
    exact = SpectralShapley(tiny_cnn(1)).attribute(X, 1, num_bands=3, return_input_shape=False)
    assert phi.dtype is torch.float32
    torch.testing.assert_close(phi.double(), exact, rtol=0.2, atol=0.02)


def test_per_example_targets_and_arguments_by_brute_force():
    args = (torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), torch.arange(7.0).double(), 2)
    want = brute_force(
        WithArgs(), (X,), (MASK,), (torch.zeros_like(X),), [0, 3, 1], additional_forward_args=args
    )
    for per_eval in (None, 1, 3):
        got = SpectralShapley(WithArgs()).attribute(
            X,
            [0, 3, 1],
            None,
            args,
            MASK,
            perturbations_per_eval=per_eval,
            return_input_shape=False,
        )
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)
