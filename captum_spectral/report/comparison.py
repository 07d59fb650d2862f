"""A change of weights as text for people, as JSON for programs, as a figure."""

from __future__ import annotations

from typing import Any

import torch

from captum_spectral.report.layout import aligned, all_versions, figure_of_values, told_error
from captum_spectral.sources.documents import to_document, to_nulls
from captum_spectral.studies.comparison import ComparedLayer, Comparison

__all__ = ["figure", "to_json", "to_text"]


def to_text(compared: Comparison, model: str, baseline: str) -> str:
    """Tell the layers in aligned columns, those that did most first.

    Args:
        compared: The comparison.
        model: Name of the model.
        baseline: Name of the baseline.

    Returns:
        Lines, the last one with a newline.
    """
    head = ["layer", "change", "norm", "gains", "to the logit", "+-"]
    rows = [head]
    for layer in _ranked(compared):
        norm, gains = "-", "-"
        if layer.responses is not None:
            before, after = layer.responses
            norm = f"{after.norm / before.norm - 1:+.1%}" if before.norm else "-"
            gains = f"{_largest_change(layer):+.1%}"
        rows.append(
            [
                layer.name,
                f"{layer.relative_change:.1%}",
                norm,
                gains,
                f"{layer.value:+.4f}",
                told_error(layer.standard_error),
            ]
        )
    pictures = f"{compared.num_examples} picture{'s' if compared.num_examples != 1 else ''}"
    lines = [
        f"From {baseline} to {model}, over {pictures}",
        "",
        f"same class       {compared.agreement:.1%}",
        f"logit of the class of {model}: {compared.logit_change:+.4f} "
        f"+- {told_error(compared.standard_error)}, by the change of {len(compared.layers)} layers",
        "",
        *aligned(rows),
        "",
        "change: norm of the difference over that of the baseline's weights. norm: relative change "
        "of the largest singular value of the convolution over all frequencies. gains: the largest "
        "relative change of its gain in a band, root mean square over channels.",
        f"to the logit: {compared.method}, mean over the pictures and its standard error; the sum "
        f"misses the change of the logit by {compared.gap:+.1e}. How much a layer changed says "
        "little about what that did.",
    ]
    lines += [f"skipped {name}: {reason}" for name, reason in compared.skipped]
    return "\n".join(lines) + "\n"


def to_json(compared: Comparison, **about: Any) -> str:
    """Tell everything as a JSON document.

    Args:
        compared: The comparison.
        about: Further entries, such as names and settings.
    """
    document = {
        **about,
        "num_examples": compared.num_examples,
        "skipped": [{"name": name, "reason": reason} for name, reason in compared.skipped],
        "agreement": compared.agreement,
        "logit_change": compared.logit_change,
        "standard_error": compared.standard_error,
        "method": compared.method,
        "gap": compared.gap,
        "layers": [_layer(layer) for layer in compared.layers],
        "versions": all_versions(),
    }
    return to_document(to_nulls(document))


def figure(compared: Comparison, title: str, file_format: str = "png") -> bytes:
    """Draw what the layers did to the logit, with standard errors.

    Args:
        compared: The comparison; of many layers those that did most are shown.
        title: Title of the figure.
        file_format: One that Matplotlib writes. Default: "png"
    """
    values = {layer.name: (layer.value, layer.standard_error) for layer in compared.layers}
    return figure_of_values(values, "logits", title, file_format)


def _ranked(compared: Comparison) -> list[ComparedLayer]:
    return sorted(compared.layers, key=lambda layer: -abs(layer.value))


def _largest_change(layer: ComparedLayer) -> float:
    """Return the relative change of the gain in the band where it is largest."""
    assert layer.responses is not None
    before, after = (response.rms_gain.detach() for response in layer.responses)
    change = torch.where(before > 0, after / before - 1, torch.zeros_like(before))
    return float(change[change.abs().argmax()])


def _layer(layer: ComparedLayer) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": layer.name,
        "relative_change": layer.relative_change,
        "value": layer.value,
        "standard_error": layer.standard_error,
        "response": None,
    }
    if layer.responses is not None:
        names = ("baseline", "model")
        entry["response"] = {
            which: {
                "norm": response.norm,
                "frequencies": response.frequencies.tolist(),
                "rms_gain": response.rms_gain.detach().tolist(),
                "max_gain": response.max_gain.detach().tolist(),
            }
            for which, response in zip(names, layer.responses, strict=True)
        }
    return entry
