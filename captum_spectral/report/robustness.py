"""A study of robustness as text for people and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral.report.layout import aligned, all_versions
from captum_spectral.robustness.association import LEAST
from captum_spectral.robustness.bootstrap import Bootstrap, paired_bootstrap
from captum_spectral.robustness.corruptions import builtin_corruptions
from captum_spectral.robustness.errors import corruption_error, relative_corruption_error
from captum_spectral.robustness.matrix import Associations, associations
from captum_spectral.sources.documents import printable, to_document, to_nulls
from captum_spectral.studies.robustness import StudiedModels

__all__ = ["Errors", "corruption_errors", "predictions", "to_json", "to_text"]

_SUSPECT = 0.02  # of the images that random noise misleads and the attack of the same size does not


class Errors(NamedTuple):
    """The errors of a model under corruptions, with intervals over images.

    Attributes:
        mce: The mean over corruptions of the error relative to the reference.
        relative_mce: The same for what corruption adds to the clean error.
        groups: Group of corruptions to the mean accuracy.
        undefined: Corruptions under which the reference has no error to compare with.
    """

    mce: Bootstrap
    relative_mce: Bootstrap
    groups: dict[str, float]
    undefined: list[str]


def corruption_errors(studied: StudiedModels, num_resamples: int = 1000) -> dict[str, Errors]:
    """Return mCE and relative mCE of every model, with paired bootstrap intervals over images.

    Args:
        studied: The study. Models without all cells of the reference are left out.
        num_resamples: Of the bootstrap. Default: 1000

    Returns:
        Model to :class:`Errors`; empty where the study has no corruptions.
    """
    bits = {
        model: _stacked(studied.per_image, model) for model in studied.table.models
    }  # fmt: skip
    clean_of, cells_of = bits[studied.reference]
    found: dict[str, Errors] = {}
    if clean_of is None or not cells_of:
        return found
    group_of = {c.name: c.group for c in builtin_corruptions("large")}
    for model, (clean, cells) in bits.items():
        if clean is None or {k: v.shape for k, v in cells.items()} != {
            k: v.shape for k, v in cells_of.items()
        }:
            continue
        both = [torch.cat([clean[None], *cells.values()]),
                torch.cat([clean_of[None], *cells_of.values()])]  # fmt: skip
        sizes = [len(x) for x in cells.values()]
        mce, relative = (
            paired_bootstrap(_mean_of(kind, sizes), *both, num_resamples=num_resamples)
            for kind in (corruption_error, relative_corruption_error)
        )
        accuracies = {name: float(x.double().mean()) for name, x in cells.items()}
        groups: dict[str, list[float]] = {}
        for name, accuracy in accuracies.items():
            groups.setdefault(group_of.get(name, "other"), []).append(accuracy)
        undefined = [name for name, x in cells_of.items() if bool(x.all())]
        means = {group: math.fsum(x) / len(x) for group, x in groups.items()}
        found[model] = Errors(mce, relative, means, undefined)
    return found


def _stacked(
    per_image: Mapping[tuple[str, str], Tensor], model: str
) -> tuple[Tensor | None, dict[str, Tensor]]:
    """Return the clean bits ``(N,)``, and ``(S, N)`` of each corruption."""
    listed: dict[str, list[Tensor]] = {}
    for (name, measurement), bits in per_image.items():
        kind, _, rest = measurement.partition("/")
        if name == model and kind == "corruption accuracy":
            listed.setdefault(rest.rpartition("/")[0], []).append(bits)
    return per_image.get((model, "accuracy")), {k: torch.stack(v) for k, v in listed.items()}


def _mean_of(kind: Callable[..., Tensor], sizes: list[int]) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the mean over corruptions of a ratio of accuracies, the clean one first."""

    def of(own: Tensor, reference: Tensor) -> Tensor:
        errors = (1 - own[1:]).split(sizes), (1 - reference[1:]).split(sizes)
        ratios = [
            kind(a, b)
            if kind is corruption_error
            else kind(a, float(1 - own[0]), b, float(1 - reference[0]))
            for a, b in zip(*errors, strict=True)
        ]
        return torch.stack(ratios).nanmean()

    return of


# ------------------------------------------------------------------------------- text


def to_text(
    studied: StudiedModels, found: Associations | None = None, num_resamples: int = 1000
) -> str:
    """Tell a study: a line for each model, whether scores predict, and what to know about it.

    Args:
        studied: The study.
        found: What :func:`predictions` gives. Default: None
        num_resamples: Of all bootstraps. Default: 1000

    Returns:
        Lines, the last one with a newline.
    """
    errors = corruption_errors(studied, num_resamples)
    columns = _columns(studied, errors)
    counts = sorted({row["num_images"] for row in studied.table if row["num_images"]})
    parts = [
        f"{_models(len(studied.table.models))}, {' / '.join(map(str, counts))} images",
        "",
        *aligned([["model", *columns], *_lines(studied, columns)]),
        "",
        *_remarks(studied, errors),
        "",
        *_told(studied, found),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _models(count: int) -> str:
    return "1 model" if count == 1 else f"{count} models"


def _columns(
    studied: StudiedModels, errors: Mapping[str, Errors]
) -> dict[str, dict[str, str]]:  # fmt: skip
    """Return column to model to text."""
    columns: dict[str, dict[str, str]] = {}
    for row in studied.table:
        name = _title(row["measurement"], row["perturbation"], row["severity"])
        if name and not row["error"]:
            number = f"{row['value']:.3f}"
            if not math.isnan(row["standard_error"]):
                number += f" ±{row['standard_error']:.3f}".replace("0.", ".")
            columns.setdefault(name, {})[row["model"]] = number
    for model, found in errors.items():
        for group, accuracy in found.groups.items():
            columns.setdefault(group, {})[model] = f"{accuracy:.3f}"
        for name, b in (("mCE", found.mce), ("relative mCE", found.relative_mce)):
            columns.setdefault(name, {})[model] = f"{b.value:.2f} [{b.low:.2f}, {b.high:.2f}]"
    return columns


_SCORES = ("importance signed score", "importance share of band 0", "importance high power")
_MEASURES = ("corruption accuracy", "robust accuracy", "distance")
_SHOWN = ("accuracy", "robust accuracy", "distance", "importance signed score")


def _told(studied: StudiedModels, found: Associations | None) -> list[str]:
    """Say whether the scores predict the measures, or why nothing can be said."""
    if found is not None:
        return ["Do the spectral scores predict robustness?", "", *str(found).splitlines()]
    families = len({row["family"] for row in studied.table})
    if families >= LEAST:
        return []
    return [
        f"Whether the spectral scores predict robustness cannot be said from {families} "
        f"famil{'y' if families == 1 else 'ies'}: it takes {LEAST} for a coefficient and 20 "
        "for a statement."
    ]


def predictions(studied: StudiedModels, num_resamples: int = 2000) -> Associations | None:
    """Measure every score against every measure of robustness, over the models of the study.

    Args:
        studied: The study.
        num_resamples: Of all bootstraps and permutations. Default: 2000

    Returns:
        The matrix; None where a study has no scores or no measures, or too few families.

    Raises:
        ImportError: SciPy is not installed (the extra ``study`` has it).
    """
    rows = [row for row in studied.table if not row["error"]]
    scores = dict.fromkeys(
        f"{row['measurement']}/{row['perturbation']}"
        for row in rows
        if row["measurement"] in _SCORES
    )
    measures = dict.fromkeys(
        f"{row['measurement']}/{row['perturbation']}"
        for row in rows
        if row["measurement"] in _MEASURES
    )
    if not scores or not measures or len({row["family"] for row in rows}) < LEAST:
        return None
    clean = any(row["measurement"] == "accuracy" for row in rows)
    return associations(
        list(studied.table),
        list(scores),
        list(measures),
        given="accuracy" if clean else None,
        num_resamples=num_resamples,
    )


def _title(measurement: str, perturbation: str, severity: float | None) -> str:
    """Return the column of a row, "" where it has none in the summary."""
    if measurement not in _SHOWN:
        return ""
    if measurement == "robust accuracy":
        return f"{perturbation} {severity:.3g}"
    if measurement.startswith("importance"):
        return f"score ({perturbation})"
    return {"accuracy": "clean"}.get(measurement, measurement)


def _lines(studied: StudiedModels, columns: Mapping[str, Mapping[str, str]]) -> list[list[str]]:
    return [
        [printable(model), *(columns[name].get(model, "-") for name in columns)]
        for model in studied.table.models
    ]


def _remarks(studied: StudiedModels, errors: Mapping[str, Errors]) -> list[str]:
    """Remark on all that a reader must know to read the numbers rightly."""
    lines = [
        "± is one standard error over images, [ ] a 95 % interval over images, for the models as "
        "they are. Robust accuracies are upper bounds, distances too.",
    ]
    if errors:
        lines.append(
            f"mCE is relative to {printable(studied.reference)}, over the corruptions measured "
            "here: not to be compared with published values, which are relative to AlexNet on "
            "ImageNet-C."
        )
    lines += [
        f"{printable(model)}: mCE leaves out {', '.join(found.undefined)}, under which "
        f"{printable(studied.reference)} makes no error."
        for model, found in errors.items()
        if found.undefined and model == studied.reference
    ]
    lines += _masked(studied)
    failed = [row for row in studied.table if row["error"]]
    for row in failed:
        cell = "/".join(filter(None, (row["measurement"], row["perturbation"])))
        lines.append(printable(f"failed: {row['model']}, {cell}: {row['error']}"))
    for (model, cell), reason in studied.recomputed.items():
        lines.append(printable(f"measured again: {model}, {cell} ({reason})"))
    return lines


def _masked(studied: StudiedModels) -> list[str]:
    """Name the models whose gradients may be masked: noise finds what the attack does not."""
    lines = []
    for (model, cell), noise in studied.per_image.items():
        kind, _, rest = cell.partition("/")
        attacked = studied.per_image.get((model, f"robust accuracy/{rest}"))
        if kind == "noise accuracy" and attacked is not None:
            missed = float((attacked & ~noise).double().mean())
            if missed > _SUSPECT:
                lines.append(
                    f"{printable(model)}: random noise misleads {missed:.1%} of the images that "
                    f"the attack {rest} does not; its gradients may be masked."
                )
    return lines


# ------------------------------------------------------------------------------- JSON


def to_json(studied: StudiedModels, num_resamples: int = 1000) -> str:
    """Tell everything about a study as a JSON document; numbers as they are."""
    errors = {
        model: {
            "mce": _plain(found.mce),
            "relative_mce": _plain(found.relative_mce),
            "accuracy_by_group": found.groups,
            "undefined": found.undefined,
        }
        for model, found in corruption_errors(studied, num_resamples).items()
    }
    return to_document(
        {
            "reference": studied.reference,
            "rows": [{k: to_nulls(v) for k, v in row.items()} for row in studied.table],
            "corruption_errors": errors,
            "recomputed": {"/".join(key): reason for key, reason in studied.recomputed.items()},
            "versions": all_versions(),
        }
    )


def _plain(b: Bootstrap) -> dict[str, object]:
    return {
        name: to_nulls(float(getattr(b, name)))
        for name in ("value", "low", "high", "standard_error")
    }
