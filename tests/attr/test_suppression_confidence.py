"""The confidence of the model over the samples."""

import pytest
import torch
from helpers import Counting, tiny_cnn
from suppression import FULL_PRECISION, TARGETS, WAYS, X, run, samples_of


def confidence(model, target=TARGETS, x=X):
    rows = torch.arange(len(x))
    return model(x).detach().softmax(1)[rows, torch.as_tensor(target).expand(len(x))]


class TestConfidence:
    @pytest.mark.parametrize("target", [TARGETS, torch.tensor(TARGETS), 2, torch.tensor([2])])
    @pytest.mark.parametrize("way", WAYS)
    def test_without_suppression_it_is_the_models_own(self, way, target):
        model = tiny_cnn(2)
        _, own = run(model, target=target, suppress=0, return_confidence=True, **way)
        torch.testing.assert_close(own, confidence(model, target), **FULL_PRECISION)

    @pytest.mark.parametrize("size", [None, 1, 4])
    @pytest.mark.parametrize("way", WAYS)
    def test_it_is_the_mean_over_the_samples_of_the_same_generator(self, way, size):
        model = Counting(tiny_cnn(2))
        z, error, mean = run(
            model,
            return_confidence=True,
            return_standard_error=True,
            internal_batch_size=size,
            **way,
        )
        assert model.rows == 6 * 3  # no more than without
        of_samples = [confidence(model.model, x=x) for x in samples_of(tiny_cnn(2), **way)]
        torch.testing.assert_close(mean, torch.stack(of_samples).mean(0), **FULL_PRECISION)
        without = run(tiny_cnn(2), return_standard_error=True, **way)
        for a, b in zip((z, error), without, strict=True):
            torch.testing.assert_close(a, b, **FULL_PRECISION)

    def test_a_batch_equals_its_examples_one_at_a_time(self):
        _, together = run(tiny_cnn(2), return_confidence=True)
        for e in range(3):
            _, alone = run(tiny_cnn(2), X[e : e + 1], TARGETS[e], return_confidence=True)
            torch.testing.assert_close(together[e : e + 1], alone, **FULL_PRECISION)

    def test_logits_of_half_precision_are_not_rounded_again(self):
        (_, half), (_, double) = (
            run(tiny_cnn(2, dtype=d), X.to(d), return_confidence=True)
            for d in (torch.bfloat16, torch.float64)
        )
        assert half.dtype == torch.float32
        torch.testing.assert_close(half.double(), double, rtol=0.05, atol=0)

    @pytest.mark.parametrize(
        ("target", "got"),
        [
            (None, "None"),
            ((1, 2), r"\(1, 2\)"),
            ([(0, 1), (3, 4), (2, 0)], r"\[\(0, 1\)"),
            (torch.rand(3), r"torch.float32 \(3,\)"),
        ],
    )
    def test_it_needs_a_class_per_example(self, target, got):
        model = Counting(tiny_cnn(2))
        with pytest.raises(TypeError, match=f"one (class )?per example.* got {got}"):
            run(model, target=target, return_confidence=True)
        assert model.calls == 0

    @pytest.mark.parametrize(
        ("forward", "got"),
        [
            (lambda x: x.flatten(1)[:, :1], r"\(18, 1\) for 18 rows"),
            (lambda x: x.flatten(1).sum(0, keepdim=True), r"\(1, 240\) for 3 rows"),
        ],
    )
    def test_it_needs_the_outputs_of_classes(self, forward, got):
        with pytest.raises(
            ValueError, match=f"return_confidence needs .* classes.*got torch.float64 {got}"
        ):
            run(forward, target=0, return_confidence=True)

    def test_infinite_logits_are_refused(self):
        def forward(x):
            sums = x.flatten(1).sum(1, keepdim=True)
            return torch.cat([sums, torch.full_like(sums, torch.inf)], 1)

        with pytest.raises(ValueError, match=r"the confidence of forward_func is not finite .* 0"):
            run(forward, target=0, return_confidence=True)


def test_probabilities_have_no_softmax_of_their_own():
    model = torch.nn.Sequential(tiny_cnn(2), torch.nn.Softmax(1)).eval()
    with pytest.raises(ValueError, match=r"return_confidence takes the softmax of logits, and"):
        run(model, target=TARGETS, return_confidence=True)
