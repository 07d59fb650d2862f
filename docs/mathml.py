"""Formulas as MathML, written when the documentation is built: a reader needs no script for them.

It also ends a build whose pages would ask another server for anything, so that the documentation
can be read without a network.
"""

import re
from html import escape
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.errors import ExtensionError
from sphinx.util.math import get_node_equation_number

# What a browser fetches by itself, from somewhere else.
_FETCHED = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=\"(?:https?:)?//[^\"]+"
)
# Delimiters that the converter knows at no fixed size; they grow with what they hold instead.
_SIZED = re.compile(r"\\[bB]igg?[lr]?\s*(?=\\(l|r)(?:floor|ceil|angle|vert|Vert|brace)\b|\\([{}]))")
# What the converter did not know stands in its output as it was.
_LEFT_OVER = re.compile(r">(\\[^<]*|&)<")


def to_mathml(latex: str, display: str = "inline") -> str:
    """Convert a formula.

    Args:
        latex: Without dollar signs; several lines of a block may be aligned at ``&``.
        display: ``"inline"`` or ``"block"``. Default: "inline"

    Raises:
        ValueError: It has a command that cannot be converted.
    """
    # A line break of a source file is a space in a formula.
    flat = " ".join(latex.split())
    if display == "block" and "\\\\" in flat and "\\begin" not in flat:
        flat = f"\\begin{{aligned}}{flat}\\end{{aligned}}"
    flat = _SIZED.sub(_growing, flat).replace("{aligned}", "{align*}")
    converted = convert(flat, display=display)
    if left := _LEFT_OVER.search(converted):
        raise ValueError(f"{left[1]} of {flat!r} cannot be written as MathML")
    return converted


def _growing(size):
    return r"\left" if size[1] == "l" or size[2] == "{" else r"\right"


def _inline(self, node):
    self.body.append(f'<span class="math">{to_mathml(node.astext())}</span>')
    raise nodes.SkipNode


def _block(self, node):
    anchor = f' id="{escape(node["ids"][0])}"' if node.get("ids") else ""
    number = f"({get_node_equation_number(self, node)})" if node["number"] else ""
    self.body.append(
        f'<div class="math"{anchor} style="overflow-x: auto">{number}'
        f"{to_mathml(node.astext(), 'block')}</div>"
    )
    raise nodes.SkipNode


def _check_offline(app, exception):
    """Raise if a page fetches something from elsewhere."""
    if exception is not None or app.builder.format != "html":
        return
    for path in sorted(Path(app.outdir).rglob("*.html")):
        found = _FETCHED.search(path.read_text(encoding="utf-8"))
        if found and 'rel="canonical"' not in found[0]:
            raise ExtensionError(f"{path.name} cannot be read offline: {found[0]}")


def setup(app):
    """Register the renderer under the name ``mathml``."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("build-finished", _check_offline)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
