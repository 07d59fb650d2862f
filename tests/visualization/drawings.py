"""Bands by construction, and what can be read off drawn axes."""

import torch

from captum_spectral.visualization import visualize_band_attr, visualize_bands, visualize_spectrum

VALUES = torch.tensor([3.1, 0.8, -0.1, -0.6])
FREQUENCIES = torch.tensor([[0, 0.12], [0.125, 0.24], [0.25, 0.37], [0.375, 0.5]])


def heights(axes):
    return [bar.get_height() for bar in axes.patches]


def tick_labels(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def legend_texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def waves(num_bands, shape=(3, 24, 24), mean_band=0):
    """Bands by construction: one holds the mean, every other one a wave without mean."""
    _, h, w = shape
    phase = 2 * torch.pi * torch.arange(w, dtype=torch.float64) / w
    bands = torch.stack([0.2 / num_bands * torch.cos((i + 1) * phase) for i in range(num_bands)])
    bands = bands[:, None, None, :].expand(num_bands, shape[0], h, w).clone()
    bands[mean_band] += 0.5
    return bands.sum(0), bands


def draw_bands(num_bands=4, values=None, **kwargs):
    image, bands = waves(num_bands)
    values = torch.linspace(3, -1, num_bands) if values is None else values
    return visualize_bands(image, bands, values, use_pyplot=False, **kwargs)


def all_three(**kwargs):
    yield lambda **more: visualize_band_attr(VALUES, **kwargs, **more)
    yield lambda **more: visualize_bands(*waves(4), VALUES, **kwargs, **more)
    yield lambda **more: visualize_spectrum(torch.ones(8, 8), torch.rand(3, 8, 8), **kwargs, **more)
