"""Scores of models as text for people, as JSON for programs, as a figure, and as a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

import torch
from matplotlib.figure import Figure

from captum_spectral.importance import Estimate
from captum_spectral.report.html import Cell, Image, Table, page
from captum_spectral.report.layout import aligned, all_versions, as_file
from captum_spectral.sources.documents import printable, to_document
from captum_spectral.sources.pictures import Pictures
from captum_spectral.studies import ImportanceSettings, StudiedModel
from captum_spectral.visualization import visualize_band_attr, visualize_cumulative_shares
from captum_spectral.visualization.text import set_title

__all__ = ["figure", "remarks", "table", "to_html", "to_json", "to_text"]

_LISTED = 20  # skipped pictures in the summary; the JSON document has all
_DPI = 150


def table(scored: Sequence[StudiedModel]) -> str:
    """Tell the bands and their worth to each model, in aligned columns."""
    results = [s.result for s in scored]
    frequencies = results[0].frequencies
    assert frequencies is not None
    head = [text for s in scored for text in (s.model, "share")]
    rows = [["band   cycles/pixel", *head]]
    shares = [result.normalized("positive") for result in results]
    for band, (low, high) in enumerate(frequencies.tolist()):
        cells = []
        for result, share in zip(results, shares, strict=True):
            value, error = float(result.attributions[band]), float(result.standard_error[band])
            cells += [f"{value:+.4f} ± {error:.4f}", f"{float(share[band]):6.1%}"]
        rows.append([f"{band:4d}   {low:.3f} to {high:.3f}", *cells])

    def line(label: str, values: Sequence[str]) -> list[str]:
        return [f"       {label}", *(text for value in values for text in (value, ""))]

    rows += [
        line("sum of the bands", [f"{float(r.attributions.sum()):+.4f}" for r in results]),
        line("v(full)", [f"{r.full_value:+.4f}" for r in results]),
        line("v(empty)", [f"{r.empty_value:+.4f}" for r in results]),
        line("efficiency gap", [f"{r.efficiency_gap:+.1e}" for r in results]),
        line("accuracy", ["-" if r.accuracy is None else f"{r.accuracy:.4f}" for r in results]),
        line("pictures", [str(r.num_examples) for r in results]),
        line("model rows", [str(r.num_rows) for r in results]),
    ]
    if results[0].num_bands > 1:
        rows += [
            line("signed score", [_estimate(r.signed_score()) for r in results]),
            line("authors' score", [_estimate(r.score()) for r in results]),
        ]
    return "\n".join([f"Values in {results[0].unit}, mean ± standard error", *aligned(rows)])


def to_text(scored: Sequence[StudiedModel], pictures: Pictures) -> str:
    """Tell the table, and in sentences what it says.

    Args:
        scored: The models, all over the same pictures with the same bands.
        pictures: The data set.

    Returns:
        Lines, the last one with a newline.
    """
    parts = [f"Spectral importance on {pictures.name}", "", table(scored), ""]
    parts += [_reading(s) for s in scored]
    parts += ["", *remarks(scored)]
    skipped = _skipped(scored, pictures.skipped)
    if skipped:
        parts += ["", f"Pictures that were not used ({len(skipped)}):"]
        parts += ["  " + printable(f"{name}: {reason}") for name, reason in skipped[:_LISTED]]
        if len(skipped) > _LISTED:
            parts.append(f"  and {len(skipped) - _LISTED} more, see importance.json")
    return "\n".join(parts) + "\n"


def remarks(scored: Sequence[StudiedModel]) -> list[str]:
    """Remark on all that a reader must know to read the numbers rightly."""
    lines = [
        "Signed score: 1 all power in the lowest band, 0 an even spread, negative: high "
        "frequencies. Shares leave out bands that lower the value.",
        "Standard errors are those of the mean over pictures; they say nothing about pictures of "
        "another kind.",
    ]
    if any(s.labels == "predictions" for s in scored):
        lines.append(
            "The data has no labels, so the label of a picture is the model's own prediction: the "
            "values say what its decisions rest on, not whether they are right."
        )
    groups = next((s.result.num_groups for s in scored if s.result.num_groups), None)
    if groups is not None:
        lines.append(
            f"The pictures come in {groups} groups, such as views of one photograph, and resemble "
            "each other within a group: standard errors are clustered by group."
        )
    lines += [
        f"{s.model}: stopped when the tolerance was reached, before the end of the data."
        for s in scored
        if s.stopped_early
    ]
    return lines


def to_json(
    scored: Sequence[StudiedModel],
    settings: ImportanceSettings,
    pictures: Pictures,
    *,
    device: str = "cpu",
    processes: int = 1,
) -> str:
    """Tell everything about a study as a JSON document; numbers as they are.

    Args:
        scored: The models.
        settings: Those of the study.
        pictures: The data set.
        device: Where it was computed. Default: "cpu"
        processes: How many shared the work. Default: 1

    Returns:
        The document; ``models[i]["result"]`` is what ``ImportanceResult.from_dict`` reads.
    """
    data = {
        "name": pictures.name,
        "num_pictures": len(pictures),
        "num_classes": None if pictures.classes is None else len(pictures.classes),
        "fingerprint": pictures.fingerprint(),
    }
    skipped = _skipped(scored, pictures.skipped)
    document = {
        "method": "I-ASIDE",
        "data": data,
        "settings": asdict(settings),
        "device": device,
        "processes": processes,
        "models": [
            {
                "model": s.model,
                "labels": s.labels,
                "batch_size": s.batch_size,
                "perturbations_per_eval": s.perturbations_per_eval,
                "stopped_early": s.stopped_early,
                "result": s.result.to_dict(),
            }
            for s in scored
        ],
        "skipped": [{"name": name, "reason": reason} for name, reason in skipped],
        "versions": all_versions(),
    }
    return to_document(document)


def figure(scored: Sequence[StudiedModel], title: str) -> dict[str, bytes]:
    """Draw the values of the bands, and their shares from low to high frequencies.

    Args:
        scored: The models, at most 7, all with the same bands.
        title: Title of the figure.

    Returns:
        "png" and "svg" to the contents of the files.
    """
    results = [s.result for s in scored]
    values = torch.stack([result.attributions for result in results])
    errors = torch.stack([result.standard_error for result in results])
    shares = torch.stack([result.normalized("positive") for result in results])
    with_shares = bool(shares.isfinite().all()) and results[0].num_bands > 1
    width = max(5.0, 1.5 + results[0].num_bands * (0.55 + 0.14 * len(scored)))
    whole = width + 4.6 * with_shares
    drawn = Figure(figsize=(whole, 4.2), layout="constrained")
    set_title(drawn, title, whole - 0.2)
    cells = drawn.subplots(
        1, 1 + with_shares, squeeze=False, width_ratios=[width, 4.6][: 1 + with_shares]
    )
    names = [s.model for s in scored]
    visualize_band_attr(
        values,
        results[0].frequencies,
        None if errors.isnan().any() else errors,
        names,
        unit=results[0].unit,
        plt_fig_axis=(drawn, cells[0, 0]),
        use_pyplot=False,
    )
    if with_shares:
        _, lines = visualize_cumulative_shares(
            shares,
            results[0].frequencies,
            [f"{s.model}: {_estimate(s.result.signed_score(), 2)}" for s in scored],
            plt_fig_axis=(drawn, cells[0, 1]),
            use_pyplot=False,
        )
        # A legend that said so would shorten the names.
        lines.set_xlabel(f"{lines.get_xlabel()}\nbeside the names: signed scores")
    return {file_format: as_file(drawn, file_format, _DPI) for file_format in ("png", "svg")}


def to_html(
    scored: Sequence[StudiedModel],
    settings: ImportanceSettings,
    pictures: Pictures,
    drawn: bytes,
    *,
    device: str = "cpu",
    command: str | None = None,
) -> str:
    """Tell everything on one page that needs nothing else: no other file and no network.

    Args:
        scored: The models.
        settings: Those of the study.
        pictures: The data set.
        drawn: The content of the PNG file of :func:`figure`.
        device: Where it was computed. Default: "cpu"
        command: The command line that does it again. Default: None

    Returns:
        A document in HTML.
    """
    num_classes = "not known" if pictures.classes is None else len(pictures.classes)
    about = {
        "data": pictures.name,
        "pictures": len(pictures),
        "classes": num_classes,
        "fingerprint of the data": pictures.fingerprint(),
        "models": ", ".join(s.model for s in scored),
        **{name.replace("_", " "): x for name, x in asdict(settings).items()},
        "device": device,
    }
    image = Image(drawn, _alternative(scored), "Whiskers are one standard error.")
    return page(
        f"Spectral importance on {pictures.name}",
        [*_compared(scored), *map(_reading, scored)],
        {
            "Which frequencies": [image, _table_of_bands(scored)],
            "Models": [_table_of_models(scored)],
            "How to read it": remarks(scored),
        },
        settings=about,
        skipped=_skipped(scored, pictures.skipped),
        command=command,
    )


def _compared(scored: Sequence[StudiedModel]) -> list[str]:
    """Say in a sentence which of several models draws most on low frequencies."""
    scores = {s.model: s.result.signed_score() for s in scored if s.result.num_bands > 1}
    scores = {model: score for model, score in scores.items() if math.isfinite(score.value)}
    if len(scores) < 2:
        return []
    low, high = (pick(scores, key=lambda m: scores[m].value) for pick in (max, min))
    apart = scores[low].low > scores[high].high
    return [
        f"Of {len(scores)} models {low} draws most on low frequencies (signed score "
        f"{scores[low].value:.2f}) and {high} least ({scores[high].value:.2f}); their intervals "
        + ("do not overlap." if apart else "overlap, so that the order is not certain.")
    ]


def _alternative(scored: Sequence[StudiedModel]) -> str:
    """Tell the figure to whoever does not see it."""
    told = [
        f"{s.model}: "
        + ", ".join(f"band {i} {x:+.3f}" for i, x in enumerate(s.result.attributions.tolist()))
        for s in scored
    ]
    return f"Bars of the value of each band in {scored[0].result.unit}. {'; '.join(told)}."


def _table_of_bands(scored: Sequence[StudiedModel]) -> Table:
    results = [s.result for s in scored]
    frequencies = results[0].frequencies
    assert frequencies is not None
    several = len(scored) > 1
    head = ["band", "cycles/pixel"]
    for s in scored:
        of = f"{s.model}: " if several else ""
        head += [f"{of}value", "standard error", "share"]
    rows: list[list[str | Cell]] = []
    shares = [result.normalized("positive") for result in results]
    for band, (low, high) in enumerate(frequencies.tolist()):
        row: list[str | Cell] = [str(band), Cell(f"{low:.3f} to {high:.3f}", low)]
        for result, share in zip(results, shares, strict=True):
            value, error = float(result.attributions[band]), float(result.standard_error[band])
            part = float(share[band])
            row += [_cell(value, "+.4f"), _cell(error, ".4f"), _cell(part, ".1%")]
        rows.append(row)
    return Table(head, rows, f"Values in {results[0].unit}, means over pictures.")


def _table_of_models(scored: Sequence[StudiedModel]) -> Table:
    head = ["model", "signed score", "authors' score", "accuracy", "v(full)", "v(empty)"]
    head += ["efficiency gap", "pictures", "model rows"]
    rows: list[list[str | Cell]] = []
    for s in scored:
        r = s.result
        scores = [r.signed_score(), r.score()] if r.num_bands > 1 else [None, None]
        rows.append(
            [
                s.model,
                *(Cell("-", None) if e is None else Cell(_estimate(e, 3), e.value) for e in scores),
                _cell(math.nan if r.accuracy is None else r.accuracy, ".4f"),
                _cell(r.full_value, "+.4f"),
                _cell(r.empty_value, "+.4f"),
                _cell(r.efficiency_gap, "+.1e"),
                _cell(r.num_examples, "d"),
                _cell(r.num_rows, "d"),
            ]
        )
    return Table(head, rows, f"v in {scored[0].result.unit}: the mean value of whole pictures and "
                 "of what is left without any band.")  # fmt: skip


def _cell(number: float, form: str) -> Cell:
    """Return a number as a cell, "-" where there is none."""
    if not math.isfinite(number):
        return Cell("-", None)
    return Cell(format(number, form), number)


def _reading(scored: StudiedModel) -> str:
    result = scored.result
    gain = result.full_value - result.empty_value
    if result.num_bands < 2 or result.normalized("positive").isnan().any():
        return f"{scored.model}: its bands add {gain:+.3f} {result.unit} together."
    total, covariance = float(result.attributions.sum()), result.covariance
    if total <= 2 * float(covariance.sum().clamp(min=0).sqrt()):
        return (
            f"{scored.model}: its bands add {gain:+.3g} {result.unit} together, which these "
            "pictures do not tell apart from nothing, so that shares and scores say nothing either."
        )
    shares = result.normalized("positive")
    top = int(shares.argmax())
    assert result.frequencies is not None
    low, high = result.frequencies[top].tolist()
    half = float(shares[: result.num_bands // 2].sum())
    negative = (result.attributions < -2 * result.standard_error).nonzero().flatten().tolist()
    text = (
        f"{scored.model}: a picture is worth {gain:+.2f} {result.unit} to it. "
        f"{float(shares[top]):.0%} of that power sits in band {top} ({low:.3f} to {high:.3f} "
        f"cycles/pixel) and {half:.0%} in the lower half of the bands; signed score "
        f"{_interval(result.signed_score())}."
    )
    if negative:
        bands = f"band{'s' * (len(negative) > 1)} {', '.join(map(str, negative))}"
        text += f" Below 0 by more than two standard errors, and so harmful to it: {bands}."
    return text


def _skipped(
    scored: Sequence[StudiedModel], refused: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """List every picture that was not used once, whatever model skipped it."""
    return list(dict.fromkeys([*refused, *(pair for s in scored for pair in s.skipped)]))


def _estimate(estimate: Estimate, digits: int = 4) -> str:
    return f"{estimate.value:.{digits}f} ± {estimate.standard_error:.{digits}f}"


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.2f}, 95 % interval {estimate.low:.2f} to {estimate.high:.2f}"
