"""SpectralImportance: I-ASIDE over a data set, as a metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from captum_spectral._arguments import check_count, has_float64
from captum_spectral._captum import BaselineType, progress_bar
from captum_spectral._engine.evaluation import NotFiniteError
from captum_spectral._engine.loaders import Unpack, batches_of, count_examples
from captum_spectral._engine.outputs import Output, inner_module
from captum_spectral._engine.values import Value
from captum_spectral.features.features import Features
from captum_spectral.importance.groups import append_rows, combine, empty_table, format_groups
from captum_spectral.importance.measurement import Measurement
from captum_spectral.importance.moments import (
    Records,
    Tolerance,
    add_records,
    empty_moments,
    group_rows,
    merge,
    num_examples,
)
from captum_spectral.importance.result import ImportanceResult

__all__ = ["SpectralImportance"]


class SpectralImportance(Metric):
    r"""Tells how much of a model's predictive information sits in which frequencies of a data set.

    The bands of every image play the game of :class:`~captum_spectral.SpectralShapley` with the
    log-likelihood of its label as the value, and their Shapley values are averaged over images
    :math:`(x, y)`:

    .. math::
        v_{x,y}(S) = \log \operatorname{softmax}\big(f(x_S)\big)_y, \qquad
        \phi_i = \mathbb{E}_{(x, y)} \sum_{S \not\ni i} \frac{1}{M \binom{M-1}{|S|}}
        \big(v_{x,y}(S \cup i) - v_{x,y}(S)\big)

    Up to the entropy of the labels, :math:`\mathbb{E}\, v(S)` is a lower bound on the mutual
    information between what is left of an image and its label (not equal to it: the gap is the
    divergence of the model from the truth, and it moves with :math:`S`). Standard errors are those
    of the mean over images, whatever way each image was evaluated.

    It is a ``torchmetrics.Metric``: updated batch by batch in one pass, summed over processes,
    saved in a ``state_dict``. The model is not part of its state and is never moved. Memory does
    not grow with the data. In a ``MetricCollection`` of several models set
    ``compute_groups=False``: it takes metrics that agree on the first batch for one and the same.

    What is drawn at random for an image (orderings, noise) depends on ``seed`` and its pixels
    alone, so neither the batches nor the order of the data nor the number of processes change the
    result beyond rounding. Only ``"donor"`` looks at the neighbours.

    Args:
        forward_func: The model, from ``(B, ..., H, W)`` to logits ``(B, classes)``; in a dict,
            tuple or array, too, see :class:`~captum_spectral.game.OutputOf`.
        num_bands: Equal-width bands when there is no ``feature_mask``. None: 8, or as many as fit
            small images. Default: None
        feature_mask: Integer band ids over the unshifted Fourier plane, the same for all images,
            see :func:`~captum_spectral.band_mask`. Default: None
        baselines: What an absent band holds, the same in all coalitions of an image: None (zero), a
            number, a tensor of the shape of an image with first dim 1 (the mean image, say),
            ``"noise"`` (Gaussian, with the energy that the image has in each band), or ``"donor"``
            (another image of the batch, drawn at random; for an image alone the last one of the
            batch before). Default: None
        value: ``"log_likelihood"`` (nats), ``"logit"``, or a function from what the model returns
            for some rows and their labels to ``(rows,)`` values; labels may then be of any kind,
            such as floats, several per image, or masks. A single logit ``(B, 1)`` is that of class
            1 of two. Default: "log_likelihood"
        n_samples: None: the exact values of each image, from all ``2^M`` coalitions. ``n``: an
            unbiased estimate from ``n`` random orderings per image, each with its reverse, drawn
            anew for every image. For a given number of model rows ``n_samples=1`` over more images
            has the smallest errors; exact values pay when images are few. Default: None
        perturbations_per_eval: As in :meth:`captum_spectral.BandGame.evaluate`. Default: None
        spectral_dims: The transformed dims. Default: (-2, -1)
        num_classes: Keep the classes ``0..num_classes - 1`` apart as well, for
            ``result.per_class``; memory grows with it. Default: None
        tolerance: Where :meth:`evaluate` stops: when no band's confidence interval reaches further
            from its value than ``tolerance`` times the largest attribution, after at least 30
            images. None: at the end of the data. Default: None
        confidence: Level of that interval. Default: 0.95
        seed: Seed of everything random. Default: 0
        features: Other players than these bands: a member of :mod:`captum_spectral.features`, such
            as ``Sectors()``, ``Wavelets()``, ``DCT(block_size=8)`` or ``LumaChromaBands()``.
            ``num_bands`` is then the most an image can have, and needed only for members that do
            not say so; ``"noise"`` has the energy of the image in the part of each player. Scores
            are for bands in the order of their frequencies. Default: None
        output: Which of several outputs of the model is meant, see
            :class:`~captum_spectral.game.OutputOf`. Default: None
        shortcuts: As in :class:`captum_spectral.Game`. Default: True
        **kwargs: Those of ``torchmetrics.Metric``, such as ``process_group``.

    Raises:
        TypeError: Arguments of a wrong kind.
        ValueError: Arguments out of range, an unknown value or baseline, exact values of more than
            16 bands.

    Cost: no model rows until it is updated; then per image ``2^M`` exactly, ``2 n (M - 1) + 2``
    with ``n_samples=n`` (16 for ``M = 8``, ``n = 1``), and 1 more where the label is not given.

    Example::

        >>> import torch
        >>> from captum_spectral import SpectralImportance
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 5), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(4),
        ...     torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()
        >>> importance = SpectralImportance(model, n_samples=1)
        >>> for _ in range(3):
        ...     importance.update(torch.rand(8, 3, 32, 32), torch.randint(10, (8,)))
        >>> result = importance.compute()
        >>> result.num_examples, result.num_rows, result.attributions.shape
        (24, 384, torch.Size([8]))
        >>> abs(result.efficiency_gap) < 1e-6
        True

    References:
        R. Luo, J. McDermott, C. O'Riordan, *Interpreting Global Perturbation Robustness of Image
        Models using Axiomatic Spectral Importance Decomposition*, TMLR 2024.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    moments: Tensor
    grouped: list[Tensor]  # parts of a table of groups, see ``groups``; empty without groups
    _batch: Records  # the last one

    def __init__(
        self,
        forward_func: Callable[..., Any],
        num_bands: int | None = None,
        feature_mask: Tensor | None = None,
        baselines: BaselineType | str = None,
        value: Value = "log_likelihood",
        n_samples: int | None = None,
        perturbations_per_eval: int | None = None,
        spectral_dims: int | tuple[int, ...] = (-2, -1),
        num_classes: int | None = None,
        tolerance: float | None = None,
        confidence: float = 0.95,
        seed: int = 0,
        features: Features | None = None,
        output: Output | None = None,
        shortcuts: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._tolerance = None if tolerance is None else Tolerance(tolerance, confidence)
        self._num_classes = num_classes
        self._measurement = Measurement(
            forward_func,
            num_bands=num_bands,
            feature_mask=feature_mask,
            baselines=baselines,
            value=value,
            n_samples=n_samples,
            perturbations_per_eval=perturbations_per_eval,
            spectral_dims=spectral_dims,
            seed=seed,
            num_classes=num_classes,
            features=features,
            output=output,
            shortcuts=shortcuts,
        )
        self.add_state(
            "moments",
            empty_moments(self._measurement.num_bands, num_classes or 1),
            dist_reduce_fx=merge,
            persistent=True,
        )
        self.add_state("grouped", [], dist_reduce_fx="cat")
        self._take_table(None)

    def update(
        self,
        images: Tensor,
        labels: Tensor | None = None,
        groups: Tensor | None = None,
        *,
        additional_forward_args: Any = None,
    ) -> None:
        """Take in a batch.

        Args:
            images: ``(B, ..., H, W)`` as the model wants them, on its device.
            labels: ``(B,)`` class of every image; with a ``value`` of your own ``(B, ...)`` of any
                kind. None: what the model predicts for the full image, 1 more model row per image.
                Default: None
            groups: ``(B,)`` integers: the id of the picture, patient or film that each image is
                of. Images of a group may resemble each other; standard errors and intervals are
                then clustered by group, over all updates. Give it with every update or with none.
                Default: None, all images are independent
            additional_forward_args: Further arguments of the model, as everywhere in Captum:
                tensors with one entry per image follow their image. Default: None

        Raises:
            TypeError: Images, labels or groups of a wrong kind.
            ValueError: Shapes or labels that do not fit, non-finite images or outputs,
                probabilities in place of logits, a donor for the first image when it is alone,
                groups in some updates only.

        Warns:
            UserWarning: All outputs lie from 0 to 1, as probabilities do, and come from a function
                that cannot be looked into.

        If it raises, the batch is not counted. Memory grows with the number of groups (by
        ``3 + M`` numbers, for each of its classes with ``num_classes``), not with that of images.
        """
        self._check_groups(groups is not None)
        args = additional_forward_args
        self.add(self.measure(images, labels, groups, additional_forward_args=args))

    def measure(
        self,
        images: Tensor,
        labels: Tensor | None = None,
        groups: Tensor | None = None,
        *,
        additional_forward_args: Any = None,
        keep_not_finite: bool = False,
    ) -> Records:
        """Run the model on a batch, and take nothing in.

        What several processes have measured can be gathered and added everywhere in one order, so
        that all have the result of one.

        Args:
            images: As in :meth:`update`.
            labels: As in :meth:`update`. Default: None
            groups: As in :meth:`update`. Default: None
            additional_forward_args: As in :meth:`update`. Default: None
            keep_not_finite: Where the values of an image are NaN or infinite: False, raise; True,
                go on, so that ``records.usable`` is False for it, and ``records.of(usable)`` is
                what :meth:`add` takes. Default: False

        Returns:
            What :meth:`add` takes, if all are usable.

        Raises:
            TypeError, ValueError: As :meth:`update`.
        """
        ids = None if groups is None else format_groups(groups, len(images))
        values, classes = self._measurement.records(
            images, labels, keep_not_finite, additional_forward_args
        )
        by_class = torch.zeros_like(classes) if self._num_classes is None else classes
        return Records(values, by_class, ids)

    def add(self, records: Records) -> None:
        """Take in what :meth:`measure` gave; image after image, so that batches do not matter.

        Args:
            records: Of a batch.

        Raises:
            ValueError: Records that are not usable, groups in some updates only.
        """
        if not records.usable.all():
            unusable = (~records.usable).nonzero().flatten().tolist()
            raise ValueError(
                f"the records of the images {unusable} are not finite; add "
                "records.of(records.usable)"
            )
        self._check_groups(records.groups is not None)
        self._batch = records
        self.moments = add_records(self.moments, records.values, records.classes)
        if records.groups is not None:
            self.grouped = append_rows(self._tables(), group_rows(records))
        # torchmetrics knows of update alone, and would go on with the result of before.
        self._computed = None
        self._update_count = max(self._update_count, 1)

    @property
    def is_precise(self) -> bool:
        """True if the images so far meet the ``tolerance``; False without one."""
        if self._tolerance is None:
            return False
        return self._tolerance.is_reached(merge(self.moments), combine(self._tables()))

    def result(self) -> ImportanceResult:
        """Return the result over the images that this process has taken in.

        Returns:
            An :class:`~captum_spectral.ImportanceResult`.

        Raises:
            ValueError: There are no images yet.
        """
        by_class, table = self._num_classes is not None, combine(self._tables())
        return self._measurement.result(self.moments, by_class, table)

    def forward(
        self,
        images: Tensor,
        labels: Tensor | None = None,
        groups: Tensor | None = None,
        *,
        additional_forward_args: Any = None,
    ) -> ImportanceResult:
        """Take in a batch and give the result of the batch alone, of this process.

        Args:
            images: As in :meth:`update`.
            labels: As in :meth:`update`. Default: None
            groups: As in :meth:`update`. Default: None
            additional_forward_args: As in :meth:`update`. Default: None

        Returns:
            An :class:`~captum_spectral.ImportanceResult`.

        Raises:
            TypeError, ValueError: As :meth:`update`.
        """
        # That of torchmetrics forgets the images before if the batch fails.
        self.update(images, labels, groups, additional_forward_args=additional_forward_args)
        batch = self._batch
        moments = add_records(torch.zeros_like(self.moments), batch.values, batch.classes)
        table = empty_table(self._measurement.num_bands)
        if batch.groups is not None:
            table = combine([group_rows(batch)])
        return self._measurement.result(moments, self._num_classes is not None, table)

    def compute(self) -> ImportanceResult:
        """Return the result over all images so far, of all processes where there are several.

        Returns:
            An :class:`~captum_spectral.ImportanceResult`.

        Raises:
            ValueError: There are no images yet.
        """
        return self.result()

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self._take_table(None)
        self._measurement.forget()

    def _tables(self) -> list[Tensor]:
        """Return the parts of the table of groups; processes that have met hold it in one."""
        return [self.grouped] if isinstance(self.grouped, Tensor) else self.grouped

    def _take_table(self, table: Tensor | None) -> None:
        """Hold a table of groups, and without one an empty one: processes must all have some."""
        held = empty_table(self._measurement.num_bands) if table is None else table
        self.grouped = [held.to(self.moments.device, torch.float64)]

    def _check_groups(self, given: bool) -> None:
        """Raise if a batch has groups and the images before had none, or the other way round."""
        before = any(map(len, self._tables()))
        if given != before and num_examples(self.moments):
            has, had = ("has", "had none") if given else ("has none", "had them")
            raise ValueError(
                f"groups must be given with every update or with none: this batch {has} and those "
                f"before {had}; reset begins anew"
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Any:
        """Move to where ``fn`` puts tensors; sums over many images need all digits of float64."""

        def move(x: Tensor) -> Tensor:
            device = fn(torch.zeros((), device=x.device)).device
            return x.to(device) if has_float64(device) else x

        return super()._apply(move, *args, **kwargs)

    def state_dict(  # type: ignore[override]
        self,
        destination: dict[str, Any] | None = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> dict[str, Any]:
        """Return the state of the metric; tensors alone, and no table where there are no groups."""
        state: dict[str, Any] = super().state_dict(destination, prefix, keep_vars)
        state.pop(f"{prefix}grouped", None)
        table = combine(self._tables())
        if len(table) and f"{prefix}moments" in state:
            state[f"{prefix}grouped"] = table.to(self.moments.device)
        return state

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        saved, errors = state_dict.get(f"{prefix}moments"), args[-1]
        table = state_dict.pop(f"{prefix}grouped", None)
        if isinstance(saved, Tensor) and saved.shape != self.moments.shape:
            errors.append(
                f"moments of shape {tuple(saved.shape)} are of other num_bands or num_classes than "
                f"these, {tuple(self.moments.shape)}"
            )
            del state_dict[f"{prefix}moments"]
            return
        device = self.moments.device
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.moments = self.moments.to(device, torch.float64)
        if saved is not None:
            self._take_table(table)
        self._computed = None
        self._update_count = max(self._update_count, int(num_examples(self.moments) > 0))

    def evaluate(
        self,
        dataloader: Iterable[Any],
        max_examples: int | None = None,
        show_progress: bool = True,
        *,
        unpack: Unpack | None = None,
    ) -> ImportanceResult:
        """Take in the batches of a data loader and compute.

        Args:
            dataloader: Anything that gives batches; a ``torch.utils.data.DataLoader``, a list.
                A batch is a tensor of images, ``(images, labels)``, ``(images, labels, groups)``
                with integer groups (whatever else comes third, or comes after, is left out, with a
                warning where it is a tensor of more than one integer per image),
                ``((images, *arguments), labels)`` for a model of further arguments, or a dict with
                the images as ``pixel_values``, ``image`` or the like and the labels as ``labels``,
                ``label`` or ``target``. Images and arguments go to the device of the model.
            max_examples: Stop after so many images. Default: None
            show_progress: Show a progress bar, in images. Default: True
            unpack: A function from a batch of any other form to one of these. Default: None

        Returns:
            What :meth:`compute` gives. Images of earlier updates count, so after an exception (or
            Ctrl-C) the rest of the data can be given in another call.

        Raises:
            TypeError: A data set in place of a loader, batches of another form.
            ValueError: As :meth:`update`; no images at all.

        With several processes each runs over its own share of the data; ``max_examples`` and
        ``tolerance`` are then those of the process.
        """
        if max_examples is not None:
            max_examples = check_count("max_examples", max_examples)
        device = _device_of(self._measurement.forward_func)
        batches = batches_of(dataloader, unpack)
        total = count_examples(dataloader, unpack, max_examples)
        seen = 0
        with progress_bar(show_progress, type(self).__name__, total) as bar:
            for whole in batches:
                batch = whole if max_examples is None else whole.first(max_examples - seen)
                images, args, labels, groups = batch.to(device)
                try:
                    self.update(images, labels, groups, additional_forward_args=args or None)
                except NotFiniteError as error:
                    number = seen + error.example
                    raise NotFiniteError(
                        f"{error} Counted over the whole dataloader it is image {number}.", number
                    ) from error
                seen += len(images)
                bar.update(len(images))
                if seen == max_examples or self.is_precise:
                    break
        if not seen and not self._update_count:
            raise ValueError("dataloader must give at least one image, and gave none")
        return self.compute()


def _device_of(forward_func: Callable[..., Any]) -> torch.device | None:
    """Return the device of a module's parameters; None where that is not known."""
    module = inner_module(forward_func)
    if module is not None:
        for tensor in (*module.parameters(), *module.buffers()):
            return tensor.device
    return None
