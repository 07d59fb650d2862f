"""Images, labels and oracles for the tests of SpectralImportance."""

import torch
from helpers import brute_force

from captum_spectral import band_mask


def images_and_labels(count=6, size=(8, 10), classes=5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, *size, generator=generator, dtype=torch.float64)
    return images, torch.randint(classes, (count,), generator=generator)


def outputs_of(model, images):
    with torch.no_grad():
        return model(images)


def accuracy_of(model, images, labels):
    return float((outputs_of(model, images).argmax(1) == labels).double().mean())


class Recording(torch.nn.Module):
    """Keeps the rows that a model was shown."""

    def __init__(self, model):
        super().__init__()
        self.model, self.shown = model, []
        self.eval()

    def forward(self, x):
        self.shown.append(x.clone())
        return self.model(x)


def oracle(model, images, labels, baselines, num_bands=4):
    """(B, M) values of every image by the textbook sum over coalitions."""
    mask = band_mask(images.shape[-2:], num_bands)
    return brute_force(
        lambda x: model(x).log_softmax(1), (images,), (mask,), (baselines,), labels.tolist()
    )


def batches_of(images, labels, size):
    return list(zip(images.split(size), labels.split(size), strict=True))
