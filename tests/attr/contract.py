"""What Captum and its users rely on, written once for all attribution methods."""

# A method joins with a small class in its own test file:
#
#     class TestMine(OfGradients, AttributionContract):  # or AttributionContract alone
#         method, kind = Mine, GradientAttribution       # the class, and its base in captum.attr
#         arguments = {"n_samples": 3}                   # of attribute, for few model rows
#         draws = True                                   # it asks the generator for numbers
#         rows = 3                                       # per example, where nothing is searched
#
# The other attributes below say what else it promises. ``Complete`` is for methods whose values
# sum to a difference of outputs. ``configs`` leaves out, or changes, what it cannot explain.

import inspect
import io
import warnings
from contextlib import redirect_stderr

import pytest
import torch
from captum.attr import NoiseTunnel
from captum.metrics import infidelity, sensitivity_max
from configurations import CONFIGS, Config, X, copied, tuples, without_other_arguments
from helpers import Counting, tiny_cnn
from torch import nn

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
NOISE = pytest.mark.parametrize("nt_type", ["smoothgrad", "smoothgrad_sq", "vargrad"])
IMAGES = torch.rand(3, 2, 10, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LAYOUTS = {
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.mT.contiguous().mT,
    "expanded": lambda x: x[:1].expand_as(x),
}


def predicted(model, x):
    with torch.no_grad():
        return model(x).argmax(1)


def assert_same(results, expected, **tolerance):
    for a, b in zip(tuples(results), tuples(expected), strict=True):
        torch.testing.assert_close(a, b, **tolerance)


class AttributionContract:
    """A test that takes ``config`` runs in every configuration; ``repeated``: under wrappers."""

    method = None  # the class under test
    kind = None  # the class of captum.attr that it derives from
    arguments = {}  # of ``attribute``, in every test but that of the positional call
    draws = False  # random numbers, from ``generator``
    completes = False  # its values sum to a difference of outputs; set by ``Complete``
    multiplies = False  # its values are differences of outputs, whether they sum to one or not
    follows_inputs = True  # under noise; False: given baselines decide alone
    rounding = 0.05  # error in half precision, as a part of the norm of all values
    bad_target = AssertionError, "Cannot choose target column"  # of (0, 1, 2) for (B, 5) outputs

    def create(self, model):
        return self.method(model)

    def configs(self):
        return CONFIGS

    def baselines(self, config):
        """Baselines that the method can start from."""
        inputs = tuple(x.flip(0) for x in tuples(config.inputs))
        return inputs if isinstance(config.inputs, tuple) else inputs[0]

    def seed(self, generator):
        """Arguments that make a generator the source of all that is drawn."""
        return {"generator": generator}

    def given(self, config):
        """The arguments with which nothing is searched again for every copy of the inputs."""
        return {**self.arguments, **config.arguments}

    def run(self, config, model=None, inputs=None, **changes):
        torch.manual_seed(0)
        explainer = self.create(config.model if model is None else model)
        inputs = config.inputs if inputs is None else inputs
        return explainer.attribute(inputs, **{**self.arguments, **config.arguments, **changes})

    def pytest_generate_tests(self, metafunc):
        kinds = {"config": self.configs(), "repeated": without_other_arguments(self.configs())}
        for argument, configs in kinds.items():
            if argument in metafunc.fixturenames:
                metafunc.parametrize(argument, configs, ids=[c.name for c in configs])

    # ------------------------------------------------------------------------------- the class

    def test_it_is_a_captum_class_whose_arguments_no_wrapper_swallows(self):
        assert issubclass(self.method, self.kind)
        names = list(inspect.signature(self.method.attribute).parameters)
        assert names[:5] == ["self", "inputs", "target", "baselines", "additional_forward_args"]
        kinds = inspect.signature(self.method.attribute.__wrapped__).parameters.values()
        assert [p.name for p in kinds if p.kind is not p.KEYWORD_ONLY] == names[:3]
        assert set(self.seed(None)) <= set(names)
        assert not SWALLOWED_BY_WRAPPERS & set(names)
        assert hasattr(self.method.attribute, "__wrapped__")
        constructor = inspect.signature(self.method.__init__).parameters
        assert list(constructor) == ["self", "forward_func", "output"]
        assert constructor["output"].kind is inspect.Parameter.KEYWORD_ONLY

    def test_small_print(self):
        explainer, name = self.create(tiny_cnn()), self.method.__name__
        assert explainer.multiplies_by_inputs is (self.completes or self.multiplies)
        assert explainer.has_convergence_delta() is self.completes
        assert explainer.get_name().replace(" ", "") == name
        assert explainer.get_name().count(" ") == sum(map(str.isupper, name)) - 1
        message = f"attribute_future is not implemented for {name}"
        with pytest.raises(NotImplementedError, match=message):
            explainer.attribute_future()

    def test_it_is_called_positionally(self):
        model, inputs = tiny_cnn(), torch.rand(2, 3, 32, 32).double()
        target = predicted(model, inputs)
        torch.manual_seed(0)
        by_position = self.create(model).attribute(inputs, target)
        torch.manual_seed(0)
        assert torch.equal(by_position, self.create(model).attribute(inputs=inputs, target=target))

    def test_a_bad_tuple_target_is_refused(self):
        error, message = self.bad_target
        with pytest.raises(error, match=message):
            self.create(tiny_cnn(1)).attribute(X, (0, 1, 2), **self.arguments)

    @pytest.mark.parametrize("part", ["whole", "a part"])
    def test_a_model_in_training_mode_warns_once_and_stays_as_it_is(self, part):
        model = nn.Sequential(tiny_cnn(1), nn.Dropout(1e-9))
        if part == "a part":
            model.eval()[1].train()
        modes = [m.training for m in model.modules()]
        config = Config(part, model, X, {"target": predicted(model, X)})
        with pytest.warns(UserWarning, match=r"training mode.*call \.eval\(\) first") as caught:
            self.run(config)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert [m.training for m in model.modules()] == modes
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.run(config, model.eval())

    # ------------------------------------------------------------------------------- results

    def test_shape_and_kind_follow_the_inputs(self, config):
        result = self.run(config)
        assert isinstance(result, tuple) == isinstance(config.inputs, tuple)
        for r, x in zip(tuples(result), tuples(config.inputs), strict=True):
            assert r.shape == x.shape
            assert r.is_contiguous()  # metrics take views

    def test_a_batch_equals_one_example_at_a_time(self, config):
        together = tuples(self.run(config))
        for e in range(3):
            alone = self.run(config.of_example(e))
            own = tuple(t[e : e + 1] for t in together)
            assert_same(own, alone, rtol=1e-9, atol=1e-12)

    def test_a_target_has_many_forms(self):
        (config,) = (c for c in self.configs() if c.name == "list target")
        target = config.arguments["target"]
        result = self.run(config)
        assert torch.equal(self.run(config, target=torch.tensor(target)), result)
        for e in range(3):
            own = {"rtol": 1e-9, "atol": 1e-12}
            for form in (target[e], torch.tensor(target[e]), torch.tensor(target[e : e + 1])):
                alone = self.run(config, inputs=config.inputs[e : e + 1], target=form)
                assert_same(result[e : e + 1], alone, **own)

    def test_a_tuple_of_one_equals_its_tensor(self):
        config = self.configs()[0]
        (of_tuple,) = self.run(config, inputs=(config.inputs,))
        assert torch.equal(of_tuple, self.run(config))
        baselines = self.baselines(config)
        (of_tuple,) = self.run(config, inputs=(config.inputs,), baselines=(baselines,))
        assert torch.equal(of_tuple, self.run(config, baselines=baselines))

    def test_data_parallel_equals_the_model(self, config):
        wrapped = nn.DataParallel(config.model).eval()
        assert_same(self.run(config, wrapped), self.run(config))

    def test_nothing_is_left_changed(self, config):
        model = config.model
        parameters = [p.clone() for p in model.parameters()]
        modes = [m.training for m in model.modules()]
        inputs = [x.clone() for x in tuples(config.inputs)]
        needs_grad = tuple(x.clone().requires_grad_() for x in inputs)
        state = torch.get_rng_state()
        generator = torch.Generator().manual_seed(0)
        given = needs_grad if isinstance(config.inputs, tuple) else needs_grad[0]
        result = self.create(model).attribute(
            given, **{**self.arguments, **config.arguments, **self.seed(generator)}
        )
        assert not any(r.requires_grad for r in tuples(result))
        assert torch.equal(torch.get_rng_state(), state)
        untouched = torch.equal(generator.get_state(), torch.Generator().manual_seed(0).get_state())
        assert untouched is not self.draws
        assert [m.training for m in model.modules()] == modes
        assert all(map(torch.equal, model.parameters(), parameters))
        assert all(p.grad is None and p.requires_grad for p in model.parameters())
        assert all(x.grad is None and x.requires_grad for x in needs_grad)
        assert all(map(torch.equal, needs_grad, inputs))
        for m in model.modules():
            assert not {**m._forward_hooks, **m._forward_pre_hooks, **m._backward_hooks}

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_gradients_are_taken_where_the_caller_has_switched_them_off(self, config, mode):
        expected = self.run(config)
        with mode():
            arguments = {name: copied(value) for name, value in config.arguments.items()}
            result = self.run(config, inputs=copied(config.inputs), **arguments)
        for a, b in zip(tuples(result), tuples(expected), strict=True):
            assert torch.equal(a, b)
            assert not a.requires_grad

    def test_the_progress_bar_has_the_methods_name_and_ends_at_100_percent(self, config):
        with redirect_stderr(io.StringIO()) as shown:
            self.run(config, show_progress=True)
        last = shown.getvalue().strip().split("\r")[-1]
        name = self.create(config.model).get_name()
        assert last.startswith(f"{name} attribution: 100%")

    # ------------------------------------------------------------------------------- layout, dtype

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("given_baselines", [False, True])
    def test_results_are_contiguous_whatever_the_layout(self, layout, given_baselines):
        model, inputs = tiny_cnn(2), LAYOUTS[layout](IMAGES)
        assert not inputs.is_contiguous()
        config = Config(layout, model, inputs, {"target": predicted(model, inputs)})
        if given_baselines:
            config.arguments["baselines"] = self.baselines(config)
        result = self.run(config)
        assert result.is_contiguous()
        assert_same(result, self.run(config, inputs=inputs.contiguous()))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    @pytest.mark.parametrize("given_baselines", [False, True])
    def test_the_model_gets_its_dtype_and_results_are_float32_or_better(
        self, dtype, given_baselines
    ):
        def model(x):
            seen.add(x.dtype)
            return network(x)

        seen, network, inputs = set(), tiny_cnn(2, seed=1, dtype=dtype), IMAGES.to(dtype)
        config = Config(str(dtype), model, inputs, {"target": predicted(network, inputs)})
        if given_baselines:
            config.arguments["baselines"] = self.baselines(config._replace(model=network))
        kinds = {"return_standard_error", "return_convergence_delta"}
        more = kinds & set(inspect.signature(self.method.attribute).parameters)
        results = tuples(self.run(config, **dict.fromkeys(more, True)))
        assert seen == {dtype}
        assert {r.dtype for r in results} == {torch.promote_types(dtype, torch.float32)}
        assert all(r.isfinite().all() for r in results)
        if given_baselines:
            exact = self.run(
                config,
                network.double(),
                inputs.double(),
                baselines=config.arguments["baselines"].double(),
            )
            assert (results[0] - exact).norm() < self.rounding * exact.norm()

    # ------------------------------------------------------------------------------- wrappers

    @NOISE
    def test_noise_tunnel(self, repeated, nt_type):
        arguments, tunnel = self.given(repeated), NoiseTunnel(self.create(repeated.model))
        if self.completes:
            arguments["return_convergence_delta"] = True
        result = tunnel.attribute(
            repeated.inputs, nt_type=nt_type, nt_samples=2, stdevs=0.01, **arguments
        )
        if self.completes:
            result, delta = result
            assert delta.shape == (6,)
            assert delta.abs().max() < self.largest_delta
        for r, x in zip(tuples(result), tuples(repeated.inputs), strict=True):
            assert r.shape == x.shape
            assert r.isfinite().all()
            assert r.any() or not self.follows_inputs

    def test_sensitivity_max(self, repeated):
        sensitivity = sensitivity_max(
            self.create(repeated.model).attribute,
            repeated.inputs,
            n_perturb_samples=2,
            **self.given(repeated),
        )
        assert sensitivity.shape == (3,)
        if self.follows_inputs:
            assert sensitivity.min() > 0
            assert sensitivity.isfinite().all()
        else:
            assert sensitivity.max() < 1e-12

    def test_scripted_and_traced_models_equal_eager(self, repeated):
        eager = self.run(repeated)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit says that it is deprecated
            jitted = [torch.jit.trace(repeated.model, tuples(repeated.inputs))]
            if repeated.name != "two inputs":  # *inputs cannot be scripted
                jitted.append(torch.jit.script(repeated.model))
            for model in jitted:
                assert_same(self.run(repeated, model), eager, rtol=1e-9, atol=1e-12)


class Complete:
    """Of methods whose values sum to a difference of outputs."""

    completes = True
    largest_delta = 1e-10
    arguments_of_delta = {}

    def test_the_delta_is_what_the_values_lack_per_example(self, config):
        result, delta = self.run(config, return_convergence_delta=True)
        assert delta.shape == (3,)
        assert delta.abs().max() < self.largest_delta
        again = self.create(config.model).compute_convergence_delta(
            result,
            self.given(config).get("baselines"),
            config.inputs,
            target=config.arguments["target"],
            additional_forward_args=config.arguments.get("additional_forward_args"),
            **self.arguments_of_delta,
        )
        torch.testing.assert_close(again, delta, rtol=0, atol=1e-10)


class OfGradients:
    """Of methods on gradients, whose values belong to the entries of the input."""

    @NOISE
    def test_under_noise_tunnel_nothing_is_searched_again(self, repeated, nt_type):
        model = Counting(repeated.model)
        NoiseTunnel(self.create(model)).attribute(
            repeated.inputs, nt_type=nt_type, nt_samples=2, stdevs=0.01, **self.given(repeated)
        )
        assert model.rows == 2 * 3 * self.rows

    def test_infidelity(self, repeated):
        def perturb(inputs):
            noise = tuple(0.01 * torch.randn_like(x) for x in tuples(inputs))
            perturbed = tuple(x - n for x, n in zip(tuples(inputs), noise, strict=True))
            return (noise, perturbed) if isinstance(inputs, tuple) else (noise[0], perturbed[0])

        value = infidelity(
            repeated.model,
            perturb,
            repeated.inputs,
            self.run(repeated),
            target=repeated.arguments["target"],
            n_perturb_samples=3,
        )
        assert value.shape == (3,)
        assert value.isfinite().all()
