"""Formulas are MathML when the documentation is built, and a page that needs a server fails it."""

import ast
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

import captum_spectral

PACKAGE = Path(captum_spectral.__file__).parent
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def mathml(monkeypatch):
    for library in ("sphinx", "latex2mathml"):
        pytest.importorskip(library)
    monkeypatch.syspath_prepend(str(DOCS))
    monkeypatch.delitem(sys.modules, "mathml", raising=False)
    import mathml

    return mathml


def text_of(markup):
    return "".join(ElementTree.fromstring(markup).itertext())


def test_a_formula_becomes_elements_and_no_command_is_left(mathml):
    markup = mathml.to_mathml(r"\sum_{i \in S} \frac{x_i}{2} \ge \operatorname{rank} A", "block")
    assert 'display="block"' in markup
    assert "<mfrac>" in markup
    assert "\\" not in text_of(markup)
    assert "∑" in text_of(markup)


def test_lines_of_a_block_are_aligned(mathml):
    markup = mathml.to_mathml("a &= b \\\\\n c &= d", "block")
    assert markup.count("<mtr>") == 2
    assert "&" not in text_of(markup)


def test_a_command_that_cannot_be_written_is_named(mathml):
    with pytest.raises(ValueError, match=r"nosuchcommand of .* cannot be written as MathML"):
        mathml.to_mathml(r"a \nosuchcommand b")


@pytest.mark.parametrize(
    ("content", "offline"),
    [
        ('<a href="https://example.org/">a link is followed by the reader alone</a>', True),
        ('<script src="_static/x.js"></script><img src="x.png">', True),
        ('<script async="async" src="https://cdn.example.org/x.js"></script>', False),
        ('<link rel="stylesheet" href="//fonts.example.org/x.css">', False),
        ('<img alt="" src="http://example.org/x.png">', False),
    ],
)
def test_a_page_that_asks_a_server_ends_the_build(mathml, tmp_path, content, offline):
    (tmp_path / "page.html").write_text(content, encoding="utf-8")
    app = SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=tmp_path)
    if offline:
        mathml._check_offline(app, None)
    else:
        with pytest.raises(mathml.ExtensionError, match=r"page.html cannot be read offline"):
            mathml._check_offline(app, None)


def formulas():
    """Each formula of the pages and the docstrings, and how it is shown."""
    for path in [*DOCS.glob("*.md"), DOCS.parent / "README.md"]:
        text = re.sub(r"```.*?```|`[^`\n]+`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        blocks = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
        yield from ((formula, "block") for formula in blocks.findall(text))
        inline = re.findall(r"(?<![\\$])\$([^$]+)\$", blocks.sub("", text))
        yield from ((formula, "inline") for formula in inline)
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = (ast.get_docstring(node) if isinstance(node, kinds) else None) or ""
            yield from ((x, "inline") for x in re.findall(r":math:`([^`]+)`", text))
            for found in re.finditer(r"\.\. math::(.*(?:\n(?: {4}.*)?)*)", text):
                yield from ((x, "block") for x in found[1].split("\n\n") if x.strip())


def test_every_formula_can_be_written(mathml):
    found = list(formulas())
    assert len(found) > 200
    for formula, display in found:
        ElementTree.fromstring(mathml.to_mathml(formula, display))
