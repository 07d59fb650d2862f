"""Importance after every epoch of a training, on the same images each time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from torch import Tensor, nn

from captum_spectral._arguments import check_count
from captum_spectral._captum import BaselineType
from captum_spectral.importance import ImportanceResult, SpectralImportance
from captum_spectral.importance.intervals import Estimate, estimate_score
from captum_spectral.importance.scores import normalize
from captum_spectral.sources.documents import to_document

__all__ = ["Epoch", "ImportanceCallback", "evaluating"]

_TAKEN = {"epoch", "band", "low", "high", "value", "standard_error", "share", "share_error"}
_TAKEN |= {"accuracy", "num_images", "model_rows"}


class Epoch(NamedTuple):
    """One measurement.

    Args:
        epoch: The number that was given.
        extra: The rest that was given, such as the share of noisy labels.
        result: Bands and their errors.
    """

    epoch: int
    extra: dict[str, Any]
    result: ImportanceResult


class ImportanceCallback:
    r"""Measures, epoch after epoch, which frequencies a model in training relies on.

    Call it after every epoch; nothing else of the training loop is its business. Every time it
    measures :class:`~captum_spectral.SpectralImportance` on the same images with the same random
    numbers, so differences between epochs are differences between models.

    Everywhere else this package leaves models alone. Here the model is in evaluation mode while it
    is measured, and every module of it gets its own mode back, also after an exception. Parameters,
    buffers, gradients and the global random state are left as they were: with or without the
    callback a training gives the same weights.

    Noise in the labels also slows learning and shrinks the logits, so the sum of the bands falls
    with it: compare shares, at equal epochs *and* at equal ``accuracy``.

    Args:
        images: ``(N, C, H, W)`` clean images as the model takes them, best of the test set. They
            move to the device of the model, batch by batch.
        labels: ``(N,)`` clean labels.
        num_bands: As in ``SpectralImportance``. Default: None
        feature_mask: As in ``SpectralImportance``. Default: None
        baselines: As in ``SpectralImportance``. Default: None
        n_samples: As in ``SpectralImportance``; None: exact. Default: 1
        batch_size: Images at a time. Default: 256
        seed: Of what is drawn. Default: 0

    Raises:
        TypeError: Images or labels that are no tensors.
        ValueError: Not one label for each image, no images.

    Cost in model rows: per epoch that of ``SpectralImportance``, 16 per image for eight bands and
    ``n_samples=1``; of memory, one batch.

    Example::

        >>> import torch
        >>> from captum_spectral.studies.dynamics import ImportanceCallback
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> images, labels = torch.rand(20, 1, 8, 8), torch.randint(3, (20,))
        >>> callback = ImportanceCallback(images, labels, num_bands=2)
        >>> optimizer = torch.optim.SGD(model.parameters(), 0.1)
        >>> for epoch in range(3):
        ...     optimizer.zero_grad()
        ...     torch.nn.functional.cross_entropy(model(images), labels).backward()
        ...     optimizer.step()
        ...     result = callback(model, epoch, noise=0.0)
        >>> len(callback.rows), model.training
        (6, True)
        >>> {key: callback.rows[-1][key] for key in ("noise", "epoch", "band", "num_images")}
        {'noise': 0.0, 'epoch': 2, 'band': 1, 'num_images': 20}
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        num_bands: int | None = None,
        feature_mask: Tensor | None = None,
        baselines: BaselineType | str = None,
        n_samples: int | None = 1,
        batch_size: int = 256,
        seed: int = 0,
    ) -> None:
        for name, x in (("images", images), ("labels", labels)):
            if not isinstance(x, Tensor):
                raise TypeError(f"{name} must be a torch.Tensor, got {type(x).__name__}")
        if not len(images) or tuple(labels.shape) != (len(images),):
            raise ValueError(
                "images must be (N, C, H, W) and labels (N,), one for each image, got shapes "
                f"{tuple(images.shape)} and {tuple(labels.shape)}"
            )
        self._images, self._labels = images.detach(), labels.detach()
        self._batch_size = check_count("batch_size", batch_size)
        self._metric = partial(
            SpectralImportance,
            num_bands=num_bands,
            feature_mask=feature_mask,
            baselines=baselines,
            n_samples=n_samples,
            seed=seed,
        )
        self._metric(nn.Identity())  # so that wrong options fail now, not after an epoch
        self._epochs: dict[tuple[int, str], Epoch] = {}

    def __call__(self, model: nn.Module, epoch: int, **extra: Any) -> ImportanceResult:
        """Measure the model and remember the result.

        Args:
            model: From images to logits; its modes are restored.
            epoch: Number of the epoch. One that was measured before, with the same ``extra``, is
                measured anew and replaced, as after going on from an earlier checkpoint.
            extra: Columns of the rows, numbers or strings: ``noise=0.4, run="a"``.

        Returns:
            The result of this epoch.

        Raises:
            TypeError: A model that is no module, ``extra`` that is neither number nor string.
            ValueError: ``extra`` with the name of a column that is there, and what
                ``SpectralImportance.update`` raises.
        """
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        epoch = check_count("epoch", epoch, at_least=0)
        key = _key(epoch, extra)
        device = next((x.device for x in (*model.parameters(), *model.buffers())), None)
        with evaluating(model):
            metric = self._metric(model)
            for start in range(0, len(self._images), self._batch_size):
                batch = slice(start, start + self._batch_size)
                metric.update(self._images[batch].to(device), self._labels[batch])
            # Of this process: others may be at another place of their training.
            result = metric.result()
        self._epochs[key] = Epoch(epoch, dict(extra), result)
        return result

    @property
    def epochs(self) -> list[Epoch]:
        """All measurements, in the order in which they were first made."""
        return list(self._epochs.values())

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A tidy table: a row for every epoch and band.

        Each is ``extra`` and then ``epoch``, ``band``, its ends ``low`` and ``high`` in
        cycles/pixel, ``value`` in nats with its ``standard_error``, its positive ``share`` with its
        ``share_error``, and of the epoch ``accuracy``, ``num_images`` and ``model_rows``.
        """
        rows = []
        for epoch, extra, result in self.epochs:
            errors = result.standard_error.tolist()
            for band, value in enumerate(result.attributions.tolist()):
                share = _share(result, band)
                ends = result.frequencies
                row = {
                    "epoch": epoch,
                    "band": band,
                    "low": None if ends is None else float(ends[band, 0]),
                    "high": None if ends is None else float(ends[band, 1]),
                    "value": value,
                    "standard_error": errors[band],
                    "share": share.value,
                    "share_error": share.standard_error,
                    "accuracy": result.accuracy,
                    "num_images": result.num_examples,
                    "model_rows": result.num_rows,
                }
                rows.append({**extra, **row})
        return rows

    def state_dict(self) -> dict[str, Any]:
        """Return all measurements as plain Python, for a checkpoint of the training.

        Returns:
            What :meth:`load_state_dict` takes.
        """
        return {
            "epochs": [
                {"epoch": epoch, "extra": extra, "result": result.to_dict()}
                for epoch, extra, result in self.epochs
            ]
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Put the measurements of :meth:`state_dict` in the place of those that are here.

        Args:
            state_dict: What :meth:`state_dict` gave.

        Raises:
            ValueError: It is none.
        """
        try:
            saved = [
                Epoch(int(e["epoch"]), dict(e["extra"]), ImportanceResult.from_dict(e["result"]))
                for e in state_dict["epochs"]
            ]
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"state_dict must be that of an ImportanceCallback, and lacks {error}"
            ) from error
        self._epochs = {_key(one.epoch, one.extra): one for one in saved}

    def to_json(self) -> str:
        """Write all measurements as a JSON document.

        Returns:
            The document, which ``load_state_dict(json.loads(text))`` reads back, equal in every
            digit.
        """
        return to_document(self.state_dict())

    @property
    def state_key(self) -> str:
        """Lightning asks its callbacks for this, and this is none: see :meth:`for_lightning`.

        Raises:
            AttributeError: Always.
        """
        raise AttributeError(
            "ImportanceCallback is no callback of Lightning, and its for_lightning() makes one: "
            "Trainer(callbacks=[callback.for_lightning()])"
        )

    def for_lightning(self, prefix: str | None = "spectral/", **extra: Any) -> Any:
        """Return a callback of Lightning that calls this one at the end of every training epoch.

        It measures and logs in the first process alone, and is saved and loaded with the
        checkpoints of the trainer.

        Args:
            prefix: Before the names of the numbers that it logs, those of
                :meth:`~captum_spectral.ImportanceResult.scalars`; None: log nothing.
                Default: "spectral/"
            extra: As in a call.

        Returns:
            A ``lightning.pytorch.Callback`` for ``Trainer(callbacks=[...])``.

        Raises:
            ImportError: Neither ``lightning`` nor ``pytorch_lightning`` is installed.
        """
        measure = self

        class LightningImportance(_lightning_callback()):  # type: ignore[misc]
            """Measures at the end of every training epoch."""

            def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
                """Measure and log, in the first process."""
                if trainer.is_global_zero:
                    result = measure(pl_module, trainer.current_epoch, **extra)
                    if prefix is not None:  # the module's own log, with all its loggers
                        pl_module.log_dict(result.scalars(prefix), rank_zero_only=True)

            def state_dict(self) -> dict[str, Any]:
                """Return the measurements, for the checkpoint."""
                return measure.state_dict()

            def load_state_dict(self, state_dict: dict[str, Any]) -> None:
                """Go on from a checkpoint."""
                measure.load_state_dict(state_dict)

        return LightningImportance()


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode, and give every module of it its own mode back.

    Modules that were frozen on purpose, such as batch normalisations in evaluation mode within a
    model in training, are as they were, which ``model.train()`` would undo.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            # Not train(mode), which changes the children as well, or more in some classes.
            module.training = mode


def _share(result: ImportanceResult, band: int) -> Estimate:
    """Return the positive share of a band, with the spread of redrawn ones as its error."""
    return estimate_score(
        lambda phi: normalize(phi, "positive")[..., band],
        result.attributions,
        result.covariance,
        "positive",
        False,
    )


def _key(epoch: int, extra: Mapping[str, Any]) -> tuple[int, str]:
    """Return what tells measurements apart; raise unless ``extra`` can be a column."""
    for name, value in extra.items():
        if name in _TAKEN:
            raise ValueError(f"{name!r} is a column of every row already; give another name")
        if value is not None and not isinstance(value, (str, int, float)):
            raise TypeError(
                f"{name} must be a number or a string, got {type(value).__name__}; a tensor of one "
                "number has .item()"
            )
    return epoch, json.dumps(extra, sort_keys=True)


def _lightning_callback() -> Any:
    """Return Lightning's base class of callbacks."""
    for name in ("lightning.pytorch", "pytorch_lightning"):
        try:
            return import_module(name).Callback
        except ImportError:
            continue
    raise ImportError(
        "for_lightning needs Lightning; install it with pip install lightning, or call the "
        "callback in your own loop: callback(model, epoch)"
    )
