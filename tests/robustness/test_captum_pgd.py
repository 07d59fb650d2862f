"""The traps of captum.robust.PGD that docs/measuring-robustness.md names are still there."""

import pytest
import torch
from attacked import TwoClasses
from captum.robust import PGD
from classifiers import decided, images
from torch import nn

from captum_spectral.robustness.attacks import robust_accuracy

pytestmark = pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require grad")
LOSS = nn.CrossEntropyLoss(reduction="none")


def test_its_default_loss_helps_the_label_where_its_logit_is_negative():
    """It is -log(output), of probabilities, which is NaN there and slopes the other way."""
    model, x = TwoClasses(), images(6)
    y = decided(model, x)
    moved = PGD(lambda z: model(z) - 1000).perturb(x, 0.1, 0.01, 10, y)
    assert (model.lead(moved, y) > model.lead(x, y)).all()
    moved = PGD(model, LOSS).perturb(x, 0.1, 0.01, 10, y)
    assert (model.lead(moved, y) < model.lead(x, y)).any()


def test_its_start_depends_on_the_global_state_and_on_the_batch():
    model, x = TwoClasses(), images(6)
    y = decided(model, x)

    def starts(x, y):
        torch.manual_seed(0)
        return PGD(model, LOSS).perturb(x, 0.1, 1e-9, 1, y, random_start=True)

    assert torch.allclose(starts(x, y), starts(x, y))
    assert not torch.allclose(starts(x, y)[3:], starts(x[3:], y[3:]), atol=1e-3)


def test_it_does_not_move_where_gradients_are_small():
    """Which they are, of the cross entropy, where a model is confident; a margin's are not."""
    model, x = TwoClasses(), images(6)
    y = decided(model, x)

    def confident(z):
        return 300 * model(z)

    moved = PGD(confident, LOSS).perturb(x, 0.9, 0.1, 20, y)
    sure = confident(x).softmax(1).amax(1) == 1
    assert sure.sum() >= 3
    assert torch.equal(moved[sure], x[sure])
    assert robust_accuracy(confident, x, y, 0.9).accuracy == 0


def test_its_l2_attack_takes_sign_steps():
    model, x = TwoClasses(), images(6)
    y = decided(model, x)
    step = PGD(model, LOSS).perturb(x, 100.0, 0.01, 1, y, norm="L2") - x
    sizes = step.abs()[step != 0]
    torch.testing.assert_close(sizes, torch.full_like(sizes, 0.01))


def test_its_l2_start_fails_on_images():
    model, x = TwoClasses(), images(6)
    with pytest.raises(RuntimeError, match="must match the size"):
        PGD(model, LOSS).perturb(x, 1.0, 0.1, 1, decided(model, x), random_start=True, norm="L2")
