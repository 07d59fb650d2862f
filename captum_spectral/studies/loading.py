"""Pictures to batches of inputs, in the order of a run."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from captum_spectral.sources.models import LoadedModel, apply_transform
from captum_spectral.sources.pictures import Pictures

__all__ = ["Batch", "Plan", "batches"]


class Batch(NamedTuple):
    """The readable pictures of a batch as inputs, and the others with the reason.

    Attributes:
        indices: Which pictures the rows of ``images`` are.
        labels: Their classes, where the data set has labels; else empty.
        images: ``(B, C, H, W)``, None where nothing could be read.
        skipped: ``(name, reason)`` of the pictures that could not be read.
    """

    indices: list[int]
    labels: list[int]
    images: Tensor | None
    skipped: list[tuple[str, str]]


class Plan:
    """The pictures that are looked at, in their order, in batches.

    The order is random, so that the first pictures of a folder sorted by class are a fair sample,
    and the same for every model and number of processes. Batches differ in size by one at most,
    and none is of a single picture unless all are to be: one that would be goes to the others.

    Args:
        num_pictures: How many there are.
        max_examples: How many are looked at; None: all.
        batch_size: How many share a batch.
        seed: Seed of the order.

    Attributes:
        batches (list[list[int]]): The pictures of each batch.
        ends (list[int]): How many pictures there are up to the end of each batch.
    """

    def __init__(
        self, num_pictures: int, max_examples: int | None, batch_size: int, seed: int
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(num_pictures, generator=generator)[:max_examples]
        count = -(-len(order) // batch_size)
        if batch_size > 1:
            count = max(1, min(count, len(order) // 2))
        self.batches: list[list[int]] = [part.tolist() for part in order.tensor_split(count)]
        self.ends = list(accumulate(map(len, self.batches)))

    @property
    def num_examples(self) -> int:
        """Count the pictures that are looked at."""
        return self.ends[-1]


class _Entry(NamedTuple):
    """A picture as an input, or the reason why there is none."""

    number: int
    x: Tensor | None
    label: int | None
    reason: str


class _Inputs(Dataset[_Entry]):
    """Index to entry. It goes to other processes, so it holds nothing of the network."""

    def __init__(self, pictures: Pictures, model: LoadedModel, labelled: bool) -> None:
        self._pictures, self._labelled = pictures, labelled
        self._name, self._transform = model.name, model.transform

    def __getitem__(self, index: int) -> _Entry:
        try:
            picture = self._pictures.load(index)
            label = self._pictures.label(index) if self._labelled else None
            if self._labelled and label is None:
                return _Entry(index, None, None, "it has no label")
            x = apply_transform(self._name, self._transform, picture)[0]
        except (OSError, ValueError) as error:
            return _Entry(index, None, None, " ".join(str(error).split()))
        if not x.isfinite().all():
            return _Entry(index, None, None, f"the transform of {self._name} gives NaN or infinity")
        return _Entry(index, x, label, "")


class _Together(NamedTuple):
    """The entries of a batch, their inputs stacked already in the process that read them."""

    entries: list[_Entry]
    images: Tensor | None
    shapes: list[tuple[int, ...]]


def _together(entries: list[_Entry]) -> _Together:
    inputs = [entry.x for entry in entries if entry.x is not None]
    shapes = sorted({tuple(x.shape) for x in inputs})
    images = torch.stack(inputs) if len(shapes) == 1 else None
    return _Together([entry._replace(x=None) for entry in entries], images, shapes)


def batches(
    pictures: Pictures,
    model: LoadedModel,
    parts: Sequence[list[int]],
    labelled: bool,
    workers: int,
) -> Iterator[Batch]:
    """Read and prepare the pictures.

    Args:
        pictures: The data set.
        model: Whose transform prepares them.
        parts: The pictures of each batch.
        labelled: Whether the pictures have classes; one without is then skipped.
        workers: How many processes read ahead; 0: this one reads when asked.

    Raises:
        ValueError: Inputs of different sizes, a transform that cannot be sent to other processes.
    """
    loader = DataLoader(
        _Inputs(pictures, model, labelled),
        batch_sampler=parts,
        num_workers=workers,
        collate_fn=_together,
    )
    try:
        coming = iter(loader)
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise ValueError(
            f"the transform of {model.name} cannot be sent to the {workers} processes that are to "
            f"read pictures ({error}); use --workers 0, or a transform without local functions"
        ) from error
    for entries, images, shapes in coming:
        if len(shapes) > 1:
            raise ValueError(
                f"the transform of {model.name} must give inputs of one size, got "
                f"{' and '.join(map(str, shapes[:2]))}; crop or resize to a fixed size"
            )
        read = [entry for entry in entries if not entry.reason]
        yield Batch(
            [entry.number for entry in read],
            [entry.label for entry in read if entry.label is not None],
            images,
            [(pictures.name_of(entry.number), entry.reason) for entry in entries if entry.reason],
        )
