"""A study of robustness as text for people, as JSON for programs, and as a page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from captum_spectral.report.html import Cell, Image, Table, page
from captum_spectral.report.layout import aligned, all_versions
from captum_spectral.robustness.association import LEAST
from captum_spectral.robustness.bootstrap import Bootstrap, paired_bootstrap
from captum_spectral.robustness.errors import (
    MeanCorruptionError,
    mean_corruption_error,
    relative_mean_corruption_error,
)
from captum_spectral.robustness.matrix import Associations, associations
from captum_spectral.sources.documents import printable, to_document, to_nulls
from captum_spectral.studies.robustness import StudiedModels

__all__ = ["Errors", "Findings", "corruption_errors", "findings", "to_html", "to_json", "to_text"]

_LEVEL = 0.05  # of p-values in the sentence of a page
_SUSPECT = 0.02  # of the images that random noise misleads and the attack of the same size does not


class Errors(NamedTuple):
    """The errors of a model under corruptions, with intervals over images.

    Attributes:
        mce: The mean over corruptions of the error relative to the reference.
        relative_mce: The same for what corruption adds to the clean error.
        groups: Group of corruptions to the mean accuracy.
        undefined: Corruptions that ``relative_mce`` leaves out, as the reference does not degrade.
    """

    mce: Bootstrap
    relative_mce: Bootstrap
    groups: dict[str, float]
    undefined: tuple[str, ...]


class Findings(NamedTuple):
    """All that a report computes from a study; :func:`findings` makes it.

    Attributes:
        errors: Model to its errors under corruptions; empty where the study has none.
        predictions: Scores against measures of robustness; None where there are too few families.
    """

    errors: dict[str, Errors]
    predictions: Associations | None


def findings(studied: StudiedModels, num_resamples: int = 1000) -> Findings:
    """Compute corruption errors, and whether the scores predict robustness, with intervals.

    Args:
        studied: The study.
        num_resamples: Of every bootstrap, and twice as many for associations. Default: 1000

    Returns:
        :class:`Findings`, which text, JSON and figures tell.

    Raises:
        ImportError: SciPy is not installed (the extra ``study`` has it), and there are enough
            families to need it.
    """
    return Findings(
        corruption_errors(studied, num_resamples), _predictions(studied, 2 * num_resamples)
    )


def corruption_errors(studied: StudiedModels, num_resamples: int = 1000) -> dict[str, Errors]:
    """Return mCE and relative mCE of every model, with paired bootstrap intervals over images.

    Args:
        studied: The study. Models without all cells of the reference are left out.
        num_resamples: Of the bootstrap. Default: 1000

    Returns:
        Model to :class:`Errors`; empty where the study has no corruptions.
    """
    all_bits = {model: _stacked(studied.per_image, model) for model in studied.table.models}
    reference = all_bits[studied.reference]
    shapes = {name: x.shape for name, x in reference.items()}
    if "" not in shapes or len(shapes) == 1:
        return {}
    return {
        model: _errors(bits, reference, studied, num_resamples)
        for model, bits in all_bits.items()
        if {name: x.shape for name, x in bits.items()} == shapes
    }


def _stacked(per_image: Mapping[tuple[str, str], Tensor], model: str) -> dict[str, Tensor]:
    """Return the bits ``(S, N)`` of each corruption, and under "" the clean ones ``(1, N)``."""
    listed: dict[str, list[Tensor]] = {}
    for (name, measurement), bits in per_image.items():
        kind, _, rest = measurement.partition("/")
        if name == model and kind in ("accuracy", "corruption accuracy"):
            listed.setdefault(rest.rpartition("/")[0], []).append(bits)
    return {name: torch.stack(bits) for name, bits in listed.items()}


def _errors(
    bits: Mapping[str, Tensor],
    reference: Mapping[str, Tensor],
    studied: StudiedModels,
    num_resamples: int,
) -> Errors:
    names = list(bits)
    sizes = [len(x) for x in bits.values()]

    def ratios(own: Tensor, others: Tensor) -> tuple[MeanCorruptionError, MeanCorruptionError]:
        """Return both means from the accuracies of all cells."""
        mine, theirs = (dict(zip(names, (1 - x).split(sizes), strict=True)) for x in (own, others))
        clean, clean_of_reference = float(mine.pop("")), float(theirs.pop(""))
        return (
            mean_corruption_error(mine, theirs, studied.reference),
            relative_mean_corruption_error(
                mine, clean, theirs, clean_of_reference, studied.reference
            ),
        )

    both = [torch.cat([x[name] for name in names]) for x in (bits, reference)]
    values = paired_bootstrap(
        lambda *means: torch.tensor([r.value for r in ratios(*means)], dtype=torch.float64),
        *both,
        num_resamples=num_resamples,
    )
    accuracies: dict[str, list[float]] = {}
    for name in names:
        if name:
            group = studied.groups.get(name, "other")
            accuracies.setdefault(group, []).append(float(bits[name].double().mean()))
    _, relative = ratios(*(x.double().mean(1) for x in both))
    mce, relative_mce = (Bootstrap(*(part[i] for part in values)) for i in range(2))
    groups = {group: math.fsum(x) / len(x) for group, x in accuracies.items()}
    return Errors(mce, relative_mce, groups, relative.undefined)


def _predictions(studied: StudiedModels, num_resamples: int) -> Associations | None:
    """Measure every score against every measure, where there are both and enough families."""
    rows = [row for row in studied.table if not row["error"]]

    def selectors(measurements: tuple[str, ...]) -> list[str]:
        there = (row for row in rows if row["measurement"] in measurements)
        return list(dict.fromkeys(f"{row['measurement']}/{row['perturbation']}" for row in there))

    scores, measures = selectors(_SCORES), selectors(_MEASURES)
    if not scores or not measures or len({row["family"] for row in rows}) < LEAST:
        return None
    clean = any(row["measurement"] == "accuracy" for row in rows)
    return associations(
        list(studied.table),
        scores,
        measures,
        given="accuracy" if clean else None,
        num_resamples=num_resamples,
    )


# ------------------------------------------------------------------------------- text


def to_text(studied: StudiedModels, found: Findings) -> str:
    """Tell a study: a line for each model, whether scores predict, and what to know about it.

    Args:
        studied: The study.
        found: Its :func:`findings`.

    Returns:
        Lines, the last one with a newline.
    """
    columns = _columns(studied, found.errors)
    counts = sorted({row["num_images"] for row in studied.table if row["num_images"]})
    parts = [
        f"{_models(len(studied.table.models))}, {' / '.join(map(str, counts))} images",
        "",
        *aligned([["model", *columns], *_lines(studied, columns)]),
        "",
        *_remarks(studied, found.errors),
        *(printable(f"not used: {name}: {reason}") for name, reason in studied.skipped),
        "",
        *_told(studied, found.predictions),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _models(count: int) -> str:
    return "1 model" if count == 1 else f"{count} models"


def _columns(studied: StudiedModels, errors: Mapping[str, Errors]) -> dict[str, dict[str, str]]:
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
        f"{printable(model)}: relative mCE leaves out {', '.join(of.undefined)}, under which "
        f"{printable(studied.reference)} does not degrade."
        for model, of in errors.items()
        if of.undefined and model == studied.reference
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


def to_json(studied: StudiedModels, found: Findings) -> str:
    """Tell everything about a study as a JSON document; numbers as they are.

    Args:
        studied: The study.
        found: Its :func:`findings`.

    Returns:
        The document.
    """
    errors = {
        model: {
            "mce": _plain(of.mce),
            "relative_mce": _plain(of.relative_mce),
            "accuracy_by_group": of.groups,
            "undefined": list(of.undefined),
        }
        for model, of in found.errors.items()
    }
    return to_document(
        {
            "reference": studied.reference,
            "rows": [{k: to_nulls(v) for k, v in row.items()} for row in studied.table],
            "corruption_errors": errors,
            "predictions": found.predictions and found.predictions.to_dict(),
            "recomputed": {"/".join(key): reason for key, reason in studied.recomputed.items()},
            "skipped": [list(pair) for pair in studied.skipped],
            "versions": all_versions(),
        }
    )


def _plain(b: Bootstrap) -> dict[str, object]:
    names = "value", "low", "high", "standard_error"
    return {name: to_nulls(float(getattr(b, name))) for name in names}


# ------------------------------------------------------------------------------- HTML


def to_html(
    studied: StudiedModels,
    found: Findings,
    drawn: Mapping[str, bytes],
    *,
    settings: Mapping[str, object],
    command: str | None = None,
) -> str:
    """Tell a study on one page that needs nothing else: no other file and no network.

    Args:
        studied: The study.
        found: Its :func:`findings`.
        drawn: Name to content of the PNG files of the figures.
        settings: All that went into the numbers.
        command: The command line that does it again. Default: None

    Returns:
        A document in HTML.
    """
    columns = _columns(studied, found.errors)
    rows: list[list[str | Cell]] = []
    for model in studied.table.models:
        texts = [columns[name].get(model) for name in columns]
        rows.append([model, *(_number(text) for text in texts)])
    parts: dict[str, list[Table | Image | str]] = {
        "Models": [Table(["model", *columns], rows, "± is one standard error over images, [ ] a 95 "
                         "% interval over images.")],
        "How to read it": [*_remarks(studied, found.errors)],
    }  # fmt: skip
    if found.predictions is not None:
        parts["Do the spectral scores predict robustness?"] = [_table_of_pairs(found.predictions)]
    images: list[Table | Image | str] = [
        Image(content, f"{_title_of(name)}; its numbers are in the tables and in table.csv.",
              _title_of(name))
        for name, content in drawn.items()
    ]  # fmt: skip
    if images:
        parts["Figures"] = images
    return page(
        f"Robustness of {_models(len(studied.table.models))}",
        _verdict(studied, found),
        parts,
        settings={"reference": studied.reference, **settings},
        skipped=studied.skipped,
        command=command,
    )


def _verdict(studied: StudiedModels, found: Findings) -> list[str]:
    """Answer in sentences: the most robust models, and whether scores tell them."""
    texts = []
    clean = {r["model"]: r["value"] for r in studied.table
             if r["measurement"] == "accuracy" and not r["error"]}  # fmt: skip
    if clean:
        best = max(clean, key=clean.__getitem__)
        texts.append(f"Of {_models(len(studied.table.models))} {best} is right most often on clean "
                     f"images ({clean[best]:.3f}).")  # fmt: skip
    mces = {model: float(of.mce.value) for model, of in found.errors.items()}
    mces = {model: value for model, value in mces.items() if math.isfinite(value)}
    if len(mces) > 1:
        least = min(mces, key=mces.__getitem__)
        texts.append(f"Under corruptions {least} errs least: mCE {mces[least]:.2f} relative to "
                     f"{studied.reference}.")  # fmt: skip
    told = found.predictions
    if told is None:
        return [*texts, *_told(studied, None)] or ["The study has no accuracies to compare."]
    adjusted = told.adjusted
    sure = int((adjusted < _LEVEL).sum())
    texts.append(
        f"Of {int(adjusted.isfinite().sum())} pairs of a spectral score and a measure of "
        f"robustness {sure or 'none'} {'are' if sure > 1 else 'is'} related beyond chance (p below "
        f"{_LEVEL} after Holm's procedure)."
    )
    return texts


def _table_of_pairs(found: Associations) -> Table:
    rows: list[list[str | Cell]] = []
    for cells, adjusted in zip(found.cells, found.adjusted.tolist(), strict=True):
        for cell, p_value in zip(cells, adjusted, strict=True):
            low, high = cell.spearman.over_families
            rows.append(
                [
                    cell.score,
                    cell.robustness,
                    *(_plain_cell(x, "+.2f") for x in (cell.spearman.value, low, high)),
                    _plain_cell(p_value, ".3g"),
                    Cell(str(cell.num_families), cell.num_families),
                    cell.reason or "",
                ]
            )
    head = ["score", "measure", "Spearman", "from", "to", "p, adjusted", "families", "remark"]
    return Table(head, rows, "From, to: 95 % interval over families of models.")


def _plain_cell(x: float, form: str) -> Cell:
    return Cell(format(x, form), x) if math.isfinite(x) else Cell("-", None)


def _number(text: str | None) -> Cell:
    """Return a column's text as a cell that is sorted by the number it begins with."""
    if text is None:
        return Cell("-", None)
    number = float(text.split()[0])
    return Cell(text, number if math.isfinite(number) else None)


def _title_of(name: str) -> str:
    """Return the title of a figure from the name of its file."""
    return name.removesuffix(".png").replace("-", " ").replace("_", " ").capitalize()
