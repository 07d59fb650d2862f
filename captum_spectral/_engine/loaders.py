"""Batches of a data loader in their parts: images, further arguments, labels, groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from captum_spectral._arguments import warn

__all__ = ["Batch", "Unpack", "batches_of", "count_examples"]

Unpack = Callable[[Any], Any]

# What data sets and processors call them; the first that is there.
_IMAGES = ("pixel_values", "image", "images", "img", "input_values", "inputs", "input", "x")
_LABELS = ("labels", "label", "targets", "target", "y")


class Batch(NamedTuple):
    """A batch in its parts.

    Attributes:
        images: ``(B, ..., H, W)``.
        args: Further arguments of the model.
        labels: ``(B, ...)``; None without.
        groups: ``(B,)`` integers; None without.
    """

    images: Tensor
    args: tuple[Any, ...] = ()
    labels: Any = None
    groups: Any = None

    def first(self, count: int) -> Batch:
        """Return the first examples."""
        if count >= len(self.images):
            return self
        return Batch(
            self.images[:count],
            tuple(self._some(arg, count) for arg in self.args),
            self._some(self.labels, count),
            self._some(self.groups, count),
        )

    def to(self, device: torch.device | None) -> Batch:
        """Return it with images and arguments on a device; labels stay where they are."""
        if device is None:
            return self
        args = tuple(arg.to(device) if isinstance(arg, Tensor) else arg for arg in self.args)
        return self._replace(images=self.images.to(device), args=args)

    def _some(self, part: Any, count: int) -> Any:
        """Cut what has one entry per example."""
        sized = isinstance(part, Tensor | np.ndarray | list | tuple) and np.ndim(part) != 0
        return part[:count] if sized and len(part) == len(self.images) else part


def batches_of(
    dataloader: Iterable[Any], unpack: Unpack | None = None, argument: str = "dataloader"
) -> Iterable[Batch]:
    """Yield the batches of a loader in their parts.

    Warns once of the tensors in dicts that are neither images nor labels: no model gets them.

    Args:
        dataloader: Gives batches.
        unpack: Makes a batch of a known form of one of another. Default: None
        argument: What the loader is called in errors. Default: "dataloader"

    Raises:
        TypeError: A data set or a tensor in place of a loader, batches of another form.
    """
    single = isinstance(dataloader, Dataset) and not isinstance(dataloader, IterableDataset)
    known = list, tuple, str
    by_index = hasattr(dataloader, "__getitem__") and not isinstance(dataloader, known)
    if single or (by_index and not isinstance(dataloader, Mapping | Dataset)):
        raise TypeError(
            f"{argument} must give batches, and {type(dataloader).__name__} gives single images; "
            "use torch.utils.data.DataLoader(data, batch_size=32) of a data set of single images"
        )
    if isinstance(dataloader, Mapping) or _is_batch(dataloader):
        kind = type(dataloader).__name__
        raise TypeError(
            f"{argument} must give batches, and this {kind} is one batch; put it in a list"
        )
    if isinstance(dataloader, str) or not isinstance(dataloader, Iterable):
        raise TypeError(f"{argument} must give batches, got {dataloader!r}")
    if unpack is not None and not callable(unpack):
        raise TypeError(f"unpack must be a function of a batch, got {unpack!r}")
    return _all_parts(dataloader, unpack, argument)


def _is_batch(given: Any) -> bool:
    """Say whether a list or tuple is images with their labels, and no batches of images alone."""
    if not isinstance(given, list | tuple) or len(given) < 2 or not all(map(_is_numbers, given)):
        return False
    images, labels = given[:2]
    return images.ndim > labels.ndim and len(images) == len(labels)


def count_examples(
    dataloader: Iterable[Any], unpack: Unpack | None, max_examples: int | None
) -> int | None:
    """Count the images that will come, None where that is not known."""
    count = None
    if isinstance(dataloader, DataLoader):
        sampler = dataloader.sampler if dataloader.batch_size else None
        if isinstance(sampler, Sized) and not isinstance(dataloader.dataset, IterableDataset):
            count = len(sampler)
            if dataloader.drop_last:
                count -= count % cast(int, dataloader.batch_size)
    elif isinstance(dataloader, list | tuple):
        given = dataloader if unpack is None else map(unpack, dataloader)
        count = sum(len(_parts(batch, "dataloader").images) for batch in given)
    if count is None or max_examples is None:
        return max_examples if count is None and max_examples else count
    return min(count, max_examples)


def _all_parts(dataloader: Iterable[Any], unpack: Unpack | None, argument: str) -> Iterator[Batch]:
    """Take all batches apart, and tell once what is left out of them."""
    told = False
    for given in dataloader:
        batch = given if unpack is None else unpack(given)
        parts = _parts(batch, argument)
        if not told and (names := _left_out(batch)):
            told = True
            # Images of a calibration go alone into the model: there is no unpack=.
            use = (
                "unpack=lambda batch: ((images, further arguments), labels) passes them to the "
                "model, and unpack=lambda batch: (images, labels) leaves them out without a word"
                if argument == "dataloader"
                else "batches of (images, labels) leave them out without a word"
            )
            form = "dict" if isinstance(batch, Mapping) else type(batch).__name__
            warn(
                f"{argument} gives tensors that the model does not get, {', '.join(names)}: of a "
                f"{form} images and labels are taken; {use}"
            )
        yield parts


def _left_out(batch: Any) -> list[str]:
    """Name the tensors of a batch that are neither its images nor its labels nor its groups.

    Beside images and labels in a tuple, integers one per image are indices, which no model gets.
    """
    if isinstance(batch, Mapping):
        used = {next((one for one in names if one in batch), None) for names in (_IMAGES, _LABELS)}
        return [repr(name) for name, one in batch.items() if name not in used and _is_numbers(one)]
    if not isinstance(batch, tuple | list):
        return []
    return [
        f"[{place}] of shape {tuple(entry.shape)}"
        for place, entry in enumerate(batch[2:], 2)
        if _is_numbers(entry) and not _are_groups(entry) and entry.ndim > 0
    ]


def _is_numbers(entry: Any) -> bool:
    """Say whether an entry is a tensor, or an array of numbers: texts and lists are for others."""
    return isinstance(entry, Tensor) or (
        isinstance(entry, np.ndarray) and entry.dtype.kind in "fiub"
    )


def _parts(batch: Any, argument: str) -> Batch:
    """Take a batch apart."""
    if isinstance(batch, Mapping):
        found = _of_names(batch)
    elif isinstance(batch, tuple | list) and batch:
        found = _of_places(batch)
    else:
        found = Batch(batch)
    images = found.images
    if isinstance(images, np.ndarray) and images.dtype.kind == "f":
        images = torch.from_numpy(images)
    if not isinstance(images, Tensor):
        raise TypeError(
            f"{argument} must give a tensor of images, (images, labels), (images, labels, groups), "
            "((images, further arguments), labels) or a dict with 'pixel_values' and 'labels', got "
            f"{_describe(batch)}; unpack=, a function of a batch, says what is what: unpack=lambda "
            "batch: (batch[...], batch[...])"
        )
    alone = found.labels is not None and np.ndim(_as_known(found.labels)) == 0
    if alone and images.dim() < 4:
        raise TypeError(
            f"{argument} must give batches, and gave a single image with the label "
            f"{found.labels!r}; use torch.utils.data.DataLoader(data, batch_size=32)"
        )
    return found._replace(images=images)


def _of_names(batch: Mapping[Any, Any]) -> Batch:
    images = next((batch[name] for name in _IMAGES if name in batch), None)
    labels = next((batch[name] for name in _LABELS if name in batch), None)
    return Batch(cast(Tensor, images), (), labels)


def _of_places(batch: Any) -> Batch:
    """Take images, labels and groups by their places; what comes after them belongs to others."""
    inputs, labels, groups = (*batch, None, None)[:3]
    images, *args = inputs if isinstance(inputs, tuple | list) and inputs else (inputs,)
    # Of three, the last may be something else: a path, an index of another kind.
    if len(batch) != 3 or not _are_groups(groups):
        groups = None
    return Batch(images, tuple(args), labels, groups)


def _are_groups(given: Any) -> bool:
    """Say whether these are integers, one per image."""
    kind = np.asarray(_as_known(given)).dtype.kind if given is not None else ""
    return bool(kind) and kind in "iu" and np.ndim(_as_known(given)) == 1


def _as_known(given: Any) -> Any:
    """Return a tensor as NumPy's, and lists of whatever length as one of one dim."""
    if isinstance(given, Tensor):
        return given.detach().cpu().numpy() if given.dtype is not torch.bfloat16 else [0.0]
    try:
        return np.asarray(given)
    except ValueError:  # ragged
        return [0.0]


def _describe(batch: Any) -> str:
    name = type(batch).__name__
    if isinstance(batch, Mapping):
        return f"{name} with {', '.join(map(repr, batch)) or 'nothing in it'}"
    if isinstance(batch, tuple | list):
        return f"{name} of {len(batch)} ({', '.join(type(part).__name__ for part in batch)})"
    return name
