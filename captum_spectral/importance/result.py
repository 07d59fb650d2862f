"""The result over some images: attributions, errors, scores."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from captum_spectral.importance.exports import frame_of, scalars_of, shap_of, shapiq_of
from captum_spectral.importance.intervals import Estimate, estimate_score
from captum_spectral.importance.scores import (
    Normalization,
    normalize,
    signed_spectral_score,
    spectral_score,
)
from captum_spectral.sources.documents import from_nulls, to_document, to_nulls

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ImportanceResult"]

_FIELDS = (
    "attributions",
    "covariance",
    "full_value",
    "empty_value",
    "num_examples",
    "num_rows",
    "accuracy",
    "frequencies",
    "unit",
    "per_class",
    "num_groups",
    "names",
)
_LATER = ("num_groups", "names")  # documents of before these lack them


class ImportanceResult:
    r"""The spectral importance of a model over some images, with standard errors; immutable.

    :class:`SpectralImportance` makes it; :meth:`from_json` reads one back.

    Args:
        attributions: ``(M,)`` mean Shapley values of the bands, low frequencies first.
        covariance: ``(M, M)`` of ``attributions``, over images, clustered by group where there are
            groups; NaN for a single image or group.
        full_value: Mean value of the whole images, ``v(full)``.
        empty_value: Mean value of the baselines, ``v(empty)``.
        num_examples: How many images.
        num_rows: How many model rows they took.
        accuracy: Share of the images whose label has the largest output on the full image, of those
            with a label; None if none had one.
        frequencies: ``(M, 2)`` where every band begins and ends, in cycles/pixel. Default: None
        unit: Unit of the values. Default: "nats"
        per_class: Class to the result of its images alone. Default: None
        num_groups: How many groups the images come in, such as pictures of which they are views;
            None: every image is independent of the others. Default: None
        names: Of each of the features where they are no bands, such as ``"level 1 diagonal"``;
            these have no frequencies and no scores. Default: None

    Attributes:
        standard_error (Tensor): ``(M,)`` of ``attributions``, over images.
        efficiency_gap (float): :math:`\sum_i \phi_i - (v(\text{full}) - v(\text{empty}))`, 0 to
            rounding.

    Raises:
        AttributeError: On an attempt to change it.
        ValueError: Shapes that do not fit each other.

    Example::

        >>> import torch
        >>> from captum_spectral import ImportanceResult
        >>> result = ImportanceResult(
        ...     attributions=torch.tensor([2.0, 0.5, -0.1]), covariance=0.01 * torch.eye(3),
        ...     full_value=-0.6, empty_value=-3.0, num_examples=50, num_rows=400, accuracy=0.8)
        >>> result.normalized("positive")
        tensor([0.8000, 0.2000, 0.0000], dtype=torch.float64)
        >>> score = result.signed_score()
        >>> print(f"{score.value:.2f} ± {score.standard_error:.2f}")
        0.78 ± 0.04
        >>> ImportanceResult.from_json(result.to_json()) == result
        True
    """

    # Not a dataclass or a named tuple: torchmetrics would take one apart.
    __slots__ = (*_FIELDS, "_frozen")

    def __init__(
        self,
        attributions: Tensor,
        covariance: Tensor,
        full_value: float,
        empty_value: float,
        num_examples: int,
        num_rows: int,
        accuracy: float | None = None,
        frequencies: Tensor | None = None,
        unit: str = "nats",
        per_class: Mapping[int, ImportanceResult] | None = None,
        num_groups: int | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.attributions, self.covariance = _float64(attributions), _float64(covariance)
        size = len(self.attributions)
        if self.attributions.dim() != 1 or self.covariance.shape != (size, size):
            raise ValueError(
                "attributions must be (M,) and covariance (M, M), got "
                f"{tuple(self.attributions.shape)} and {tuple(self.covariance.shape)}"
            )
        self.frequencies = None if frequencies is None else _float64(frequencies)
        if self.frequencies is not None and self.frequencies.shape != (size, 2):
            raise ValueError(
                f"frequencies must be ({size}, 2), got shape {tuple(self.frequencies.shape)}"
            )
        self.full_value, self.empty_value = full_value, empty_value
        self.num_examples, self.num_rows, self.accuracy = num_examples, num_rows, accuracy
        self.unit, self.num_groups = unit, num_groups
        self.per_class = None if per_class is None else dict(per_class)
        self.names = None if names is None else tuple(names)
        if self.names is not None and len(self.names) != size:
            raise ValueError(f"names must be those of {size} features, got {len(self.names)}")
        self._frozen = True

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, "_frozen"):
            raise AttributeError(f"{type(self).__name__} is immutable, {name} cannot be set")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable, {name} cannot be deleted")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, name) for name in _FIELDS)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImportanceResult) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def _content(self) -> str:
        """Write the fields alone, so that results can be compared."""
        fields = {name: getattr(self, name) for name in _FIELDS if name != "per_class"}
        classes = None if self.per_class is None else [*self.per_class.items()]
        fields["per_class"] = classes and [(c, r._content()) for c, r in classes]
        return to_document({name: to_nulls(x) for name, x in fields.items()})

    @property
    def num_bands(self) -> int:
        """``M``."""
        return len(self.attributions)

    @property
    def standard_error(self) -> Tensor:
        """``(M,)`` standard errors of ``attributions``, over images; NaN for a single image."""
        return self.covariance.diagonal().sqrt()

    @property
    def efficiency_gap(self) -> float:
        """The sum of the bands less ``v(full) - v(empty)``, 0 to rounding."""
        return math.fsum(self.attributions.tolist()) - (self.full_value - self.empty_value)

    def normalized(self, normalization: Normalization = "min_shift") -> Tensor:
        """Return the attributions as shares that sum to 1.

        Args:
            normalization: "min_shift": less the smallest, over their sum, as the authors do it.
                "positive": negative ones as 0, over the sum. Default: "min_shift"

        Returns:
            ``(M,)`` shares; NaN where they would be 0/0.

        Raises:
            ValueError: An unknown normalization.
        """
        return normalize(self.attributions, normalization)

    def score(self, beta: float = 0.75, normalization: Normalization = "min_shift") -> Estimate:
        """Return the authors' score, see :func:`~captum_spectral.spectral_score`.

        Args:
            beta: Decay of the weights. Default: 0.75
            normalization: See :meth:`normalized`. Default: "min_shift"

        Returns:
            The score, the spread of the scores of bands redrawn from their covariance, and a 95 %
            interval that holds at the kinks, too (the modulus at 0, the smallest band). Where bands
            are close to the smallest one the score itself is biased: noise looks like power.

        Raises:
            ValueError: ``beta`` outside of (0, 1), an unknown normalization.
        """
        return self._estimate(spectral_score, beta, normalization)

    def signed_score(
        self, beta: float = 0.75, normalization: Normalization = "positive"
    ) -> Estimate:
        """Score the spectrum: 1 for all power in the lowest band, 0 for an even spread.

        Negative for high frequencies; see :func:`~captum_spectral.signed_spectral_score`.

        Args:
            beta: Decay of the weights. Default: 0.75
            normalization: See :meth:`normalized`. Default: "positive"

        Returns:
            The score, the spread of the scores of bands redrawn from their covariance, and a 95 %
            interval that holds where bands may be above or below 0, too. With many such bands the
            score itself is biased: noise above 0 counts as power. NaN where no band is positive, as
            there is nothing to share then: the full images tell the model no more of these labels
            than blank ones. See that labels and preprocessing are the model's; where they are, read
            ``attributions``, or use the other normalization.

        Raises:
            ValueError: ``beta`` outside of (0, 1), an unknown normalization.
        """
        return self._estimate(signed_spectral_score, beta, normalization)

    def _estimate(
        self,
        score: Callable[..., Tensor],
        beta: float,
        normalization: str,
        with_interval: bool = True,
    ) -> Estimate:
        with torch.inference_mode(False), torch.enable_grad():
            phi, covariance = self.attributions.clone(), self.covariance.clone()
            return estimate_score(
                lambda x: score(x, beta, normalization),
                phi,
                covariance,
                normalization,
                with_interval,
            )

    def to_json(self) -> str:
        """Write everything as a JSON object; numbers keep all their digits, NaN becomes null.

        Returns:
            The document. :meth:`from_json` gives an equal result.
        """
        return to_document(self.to_dict()).rstrip()

    def to_dict(self) -> dict[str, Any]:
        """Return what :meth:`to_json` writes, as plain Python.

        Returns:
            A dictionary; what follows from the other entries (standard errors, scores, shares) is
            there for readers and ignored by :meth:`from_json`.
        """
        return self._to_dict(with_intervals=True)

    def _to_dict(self, with_intervals: bool) -> dict[str, Any]:
        scores = {}
        if self.num_bands > 1 and self.names is None:
            for name, score, normalization in (
                ("score", spectral_score, "min_shift"),
                ("signed_score", signed_spectral_score, "positive"),
            ):
                estimate = self._estimate(score, 0.75, normalization, with_intervals)
                scores[name] = {key: to_nulls(x) for key, x in estimate._asdict().items()}
        per_class = None
        if self.per_class is not None:  # of maybe a thousand classes, without the intervals
            per_class = {str(c): r._to_dict(False) for c, r in self.per_class.items()}
        return {
            "unit": self.unit,
            "attributions": self.attributions.tolist(),
            "standard_error": to_nulls(self.standard_error),
            "frequencies": None if self.frequencies is None else to_nulls(self.frequencies),
            "frequency_unit": "cycles/pixel",
            "normalized": {
                "min_shift": to_nulls(self.normalized("min_shift")),
                "positive": to_nulls(self.normalized("positive")),
            },
            **scores,
            "full_value": self.full_value,
            "empty_value": self.empty_value,
            "efficiency_gap": self.efficiency_gap,
            "num_examples": self.num_examples,
            "num_groups": self.num_groups,
            "num_rows": self.num_rows,
            "accuracy": self.accuracy,
            "covariance": to_nulls(self.covariance),
            "names": None if self.names is None else list(self.names),
            "per_class": per_class,
        }

    def scalars(self, prefix: str = "") -> dict[str, float]:
        """Return every number by name, for ``self.log_dict`` of Lightning, W&B or TensorBoard.

        Args:
            prefix: Before each name, such as ``"val/"``. Default: ""

        Returns:
            ``full_value``, ``empty_value``, ``accuracy``, ``signed_score`` and ``score`` where
            there are such, and ``band_0``, ``share_0`` and so on; what is NaN is left out.

        Example::

            >>> import torch
            >>> result = ImportanceResult(torch.tensor([3.0, 1.0]), torch.eye(2), -1.0, -5.0, 9, 72)
            >>> {k: v for k, v in result.scalars("val/").items() if k.endswith("_0")}
            {'val/band_0': 3.0, 'val/share_0': 0.75}
        """
        return scalars_of(self, prefix)

    def to_frame(self) -> Any:
        """Return a ``pandas.DataFrame`` with a row for every band.

        Returns:
            Columns ``band``, ``low`` and ``high`` in cycles/pixel (or ``name``, where the features
            have names), ``value``, ``standard_error`` and the positive ``share``; ``attrs`` has
            ``unit`` and ``num_examples``.

        Raises:
            ImportError: pandas is not installed.
        """
        return frame_of(self)

    def to_shap(self) -> Any:
        """Return a ``shap.Explanation``, for SHAP's plots, with the empty value as its base.

        Raises:
            ImportError: SHAP is not installed.
        """
        return shap_of(self)

    def to_shapiq(self) -> Any:
        """Return a ``shapiq.InteractionValues`` of order 1, for shapiq's plots and methods.

        Raises:
            ImportError: shapiq is not installed.
        """
        return shapiq_of(self)

    @classmethod
    def from_json(cls, text: str) -> ImportanceResult:
        """Read back what :meth:`to_json` wrote.

        Args:
            text: The document.

        Returns:
            An equal result.

        Raises:
            ValueError: It is no such document; the message says what is missing.
        """
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"this is not the JSON of an ImportanceResult: {error}") from error
        return cls.from_dict(content)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ImportanceResult:
        """Read back what :meth:`to_dict` gave.

        Args:
            content: The dictionary.

        Returns:
            An equal result.

        Raises:
            ValueError: It is no such dictionary; the message says what is missing.
        """
        missing = (
            [name for name in _FIELDS if name not in {**content, **dict.fromkeys(_LATER)}]
            if isinstance(content, Mapping)
            else list(_FIELDS)
        )
        if missing:
            raise ValueError(f"an ImportanceResult needs {', '.join(missing)}")
        fields: dict[str, Any] = {name: content.get(name) for name in _FIELDS}
        for name in ("attributions", "covariance", "frequencies"):
            if fields[name] is not None:
                fields[name] = torch.tensor(
                    from_nulls(fields[name]), dtype=torch.float64, device="cpu"
                )
        if fields["per_class"] is not None:
            fields["per_class"] = {int(c): cls.from_dict(r) for c, r in fields["per_class"].items()}
        return cls(**fields)

    def plot(
        self,
        *,
        title: str | None = None,
        sample_rate: float | None = None,
        num_standard_errors: float = 1.0,
        plt_fig_axis: tuple[Figure, Axes] | None = None,
        use_pyplot: bool = True,
    ) -> tuple[Figure, Axes]:
        """Draw the attributions as bars with whiskers.

        Args:
            title: Title of the axes. Default: None
            sample_rate: Samples per second of the signals, for frequencies in hertz.
                None: cycles/pixel. Default: None
            num_standard_errors: Half length of a whisker in standard errors. Default: 1.0
            plt_fig_axis: Figure and axes to draw in. None makes a figure. Default: None
            use_pyplot: Make the figure with pyplot and show it; False leaves pyplot alone.
                Default: True

        Returns:
            Figure and axes.

        Raises:
            ValueError: ``num_standard_errors`` or ``sample_rate`` that is not positive.
        """
        from captum_spectral.visualization import visualize_band_attr

        errors, frequencies = self.standard_error, self.frequencies
        if sample_rate is not None:
            if not 0 < sample_rate < math.inf:
                raise ValueError(f"sample_rate must be positive and finite, got {sample_rate!r}")
            frequencies = None if frequencies is None else frequencies * sample_rate
        return visualize_band_attr(
            self.attributions,
            frequencies,
            None if errors.isnan().any() else errors,
            unit=self.unit,
            frequency_unit="cycles/pixel" if sample_rate is None else "Hz",
            num_standard_errors=num_standard_errors,
            title=title,
            plt_fig_axis=plt_fig_axis,
            use_pyplot=use_pyplot,
        )

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> NoReturn:
        """Refuse to be taken for a tensor, as wrappers of torchmetrics do.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            f"{getattr(func, '__name__', func)} takes tensors, and an ImportanceResult is none: "
            "BootStrapper and other wrappers of torchmetrics need a metric of one number, "
            "importance.SpectralScore; the bands are result.attributions"
        )

    def __repr__(self) -> str:
        unit = self.unit
        images = f"{self.num_examples} image{'s' if self.num_examples > 1 else ''}"
        if self.num_groups is not None:
            images += f" in {self.num_groups} group{'s' if self.num_groups > 1 else ''}"
        width = max(map(len, self.names or [""]))
        lines = [f"ImportanceResult over {images}, {self.num_rows} model rows, in {unit}"]
        for band, (value, error) in enumerate(
            zip(self.attributions.tolist(), self.standard_error.tolist(), strict=True)
        ):
            ends = "" if self.names is None else f"  {self.names[band]:>{width}}"
            if self.frequencies is not None:
                low, high = self.frequencies[band].tolist()
                ends = f"  {low:.3f}-{high:.3f}"
            kind = "band" if self.names is None else "feature"
            lines.append(f"  {kind} {band:2d}{ends}  {value:+9.4f} ± {error:.4f}")
        lines.append(
            f"  v(full) {self.full_value:+.4f}, v(empty) {self.empty_value:+.4f}, "
            f"efficiency gap {self.efficiency_gap:+.1e}"
        )
        if self.num_bands > 1 and self.names is None:
            signed, score = self.signed_score(), self.score()
            lines.append(
                f"  signed score {signed.value:.3f} ± {signed.standard_error:.3f}, "
                f"authors' score {score.value:.3f} ± {score.standard_error:.3f}"
            )
        if self.accuracy is not None:
            lines.append(f"  accuracy {self.accuracy:.4f}")
        return "\n".join(lines)


def _float64(x: Tensor) -> Tensor:
    return torch.as_tensor(x).detach().to("cpu", torch.float64).clone()
