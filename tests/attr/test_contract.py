"""What Captum and its users rely on. One entry per configuration, one test per property.

A new attribution method is one more entry in ``CONFIGS``."""

import inspect
import io
import warnings
from contextlib import redirect_stderr

import pytest
import torch
from captum.attr import GradientAttribution, NoiseTunnel, PerturbationAttribution
from captum.metrics import infidelity, sensitivity_max
from contract import (
    BOUNDARY_METHODS,
    CONFIGS,
    CONFIGS_OF_PREDICTIONS,
    METHODS,
    OF_GRADIENTS,
    OF_GRADIENTS_THAT_WRAPPERS_REPEAT,
    SUPPRESSION_METHODS,
    THAT_WRAPPERS_REPEAT,
    X,
    cases,
    copied,
    of_example,
    pairs,
    run,
    tuples,
    with_points,
)
from helpers import Counting, tiny_cnn
from torch import nn

from captum_spectral import (
    BoundaryIntegratedGradients,
    BoundarySaliency,
    FeatureSuppression,
    SpectralShapley,
    find_boundary,
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
