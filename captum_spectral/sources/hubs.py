"""Classifiers of timm and of Hugging Face by name, with their own transforms and class names.

Neither library is imported before one of its models is asked for.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image
from torch import Tensor, nn

from captum_spectral.sources.weights import load_weights, read_state_dict

__all__ = ["Parts", "Processed", "as_transform", "from_hugging_face", "from_timm"]

# The network, its transform, and the names of its classes where they are known.
Parts = tuple[nn.Module, Callable[[Image.Image], Tensor], "tuple[str, ...] | None"]


class Processed:
    """An image processor of Hugging Face as a transform from an image to one input.

    Args:
        processor: Called with ``images=`` and ``return_tensors="pt"``, gives ``pixel_values``.

    Attributes:
        mean: Means of the channels that the processor takes off; None if it does not normalise.
        std: Standard deviations that it divides by; None likewise.

    Example::

        >>> import torch
        >>> class Halves:
        ...     image_mean, image_std, do_normalize = [0.5], [0.5], True
        ...     def __call__(self, images, return_tensors):
        ...         return {"pixel_values": torch.zeros(1, 3, images.height, images.width)}
        >>> transform = Processed(Halves())
        >>> transform(Image.new("RGB", (6, 4))).shape, transform.mean
        (torch.Size([3, 4, 6]), [0.5])
    """

    def __init__(self, processor: Callable[..., Mapping[str, Any]]) -> None:
        self.processor = processor
        normalizes = getattr(processor, "do_normalize", False)
        self.mean = getattr(processor, "image_mean", None) if normalizes else None
        self.std = getattr(processor, "image_std", None) if normalizes else None

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the ``(C, H, W)`` input for an image."""
        x: Tensor = self.processor(images=image, return_tensors="pt")["pixel_values"][0]
        return x


def as_transform(transform: Any) -> Any:
    """Return a transform as it is, and an image processor of Hugging Face as a transform."""
    is_processor = callable(transform) and "pixel_values" in getattr(
        transform, "model_input_names", ()
    )
    return Processed(transform) if is_processor else transform


def from_timm(name: str, architecture: str, weights: str | os.PathLike[str] | None) -> Parts:
    """Build a classifier of timm with its published weights, or with those of a file.

    Args:
        name: What the user wrote, for messages.
        architecture: A name of timm, with or without the tag of its weights (``resnet50.a1_in1k``),
            ``hf-hub:`` and a repository, or ``local-dir:`` and a folder.
        weights: A file; None: the published weights, which timm downloads once.

    Raises:
        ImportError: timm is not installed.
        OSError: The weights cannot be downloaded.
        ValueError: There is no such model, it has no published weights, or those of the file do not
            fit.
    """
    timm = _imported("timm", name)
    from timm.data import create_transform, resolve_model_data_config

    elsewhere = re.match(r"(hf[-_]hub|local-dir):", architecture) is not None
    if not elsewhere and not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() has all"
        raise ValueError(f"timm has no model {architecture!r}; {hint}")
    if weights is None:
        if not elsewhere and not timm.models.is_model_pretrained(architecture):
            raise ValueError(
                f"timm has no published weights of {architecture!r}, so that it would be a random "
                "network; give a file of weights"
            )
        module = _fetched(name, lambda: timm.create_model(architecture, pretrained=True))
    else:
        state = read_state_dict(weights)
        config = timm.get_pretrained_cfg(architecture)
        head = state.get(f"{getattr(config, 'classifier', None)}.weight")
        # A network that was fine-tuned has other classes than the published one.
        sized = {} if head is None or head.dim() == 0 else {"num_classes": len(head)}
        module = timm.create_model(architecture, pretrained=False, **sized)
        load_weights(module, state, os.fspath(weights))
    transform = create_transform(**resolve_model_data_config(module), is_training=False)
    return module, transform, _timm_categories(module)


def _timm_categories(module: Any) -> tuple[str, ...] | None:
    """Return the names of the classes; those of ImageNet where the weights were made for it."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    config = getattr(module, "pretrained_cfg", {})
    labels = config.get("label_names")
    if labels:
        described = config.get("label_descriptions") or {}
        names = [described.get(label, label) for label in labels]
    else:
        subset = infer_imagenet_subset(module)
        if subset is None:
            return None
        info = ImageNetInfo(subset)
        names = [info.index_to_description(i) for i in range(info.num_classes())]
    return tuple(names) if len(names) == module.num_classes else None


class _Logits(nn.Module):
    """A classifier of Hugging Face as a function from pixels to logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the logits ``(B, classes)``."""
        logits: Tensor = self.network(pixel_values=pixel_values).logits
        return logits


def from_hugging_face(name: str, repository: str, weights: str | os.PathLike[str] | None) -> Parts:
    """Build an image classifier of the Hugging Face hub, or of a folder of ``save_pretrained``.

    Args:
        name: What the user wrote, for messages.
        repository: Such as ``google/vit-base-patch16-224``, or a folder.
        weights: A file; None: those of the repository, which transformers downloads once.

    Raises:
        ImportError: transformers is not installed.
        OSError: The repository cannot be loaded, or has no image processor.
        ValueError: Weights are missing, which would be random.
    """
    _imported("transformers", name)
    from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

    if weights is None:
        network, report = _fetched(
            name,
            lambda: AutoModelForImageClassification.from_pretrained(
                repository, output_loading_info=True
            ),
        )
        random = sorted({*report["missing_keys"], *(str(x) for x in report["mismatched_keys"])})
        if random:
            raise ValueError(
                f"{name} has no weights for {random[0]}"
                + (f" and {len(random) - 1} more" if len(random) > 1 else "")
                + ", which would be random: it is no trained image classifier; give a repository "
                "that is, or a file of weights"
            )
    else:
        config = _fetched(name, lambda: AutoConfig.from_pretrained(repository))
        network = AutoModelForImageClassification.from_config(config)
        load_weights(network, read_state_dict(weights), os.fspath(weights))
    processor = _fetched(name, lambda: AutoImageProcessor.from_pretrained(repository))
    labels = network.config.id2label
    names = tuple(labels.get(i, f"LABEL_{i}") for i in range(network.config.num_labels))
    known = any(label != f"LABEL_{i}" for i, label in enumerate(names))
    return _Logits(network), Processed(processor), names if known else None


def _imported(library: str, name: str) -> Any:
    """Import a library that only some models need."""
    try:
        return __import__(library)
    except ImportError as error:
        extra = {"timm": "timm", "transformers": "hf"}[library]
        raise ImportError(
            f'{name} needs the package {library}; pip install "captum-spectral[{extra}]" installs '
            f"it ({error})",
            name=error.name,
        ) from error


def _fetched(name: str, load: Callable[[], Any]) -> Any:
    """Load what may have to be downloaded; say in one line why it cannot be."""
    try:
        return load()
    except Exception as error:  # no network, no such repository, a folder that lacks a file
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise OSError(f"{name} could not be loaded: {lines[0]}") from error
