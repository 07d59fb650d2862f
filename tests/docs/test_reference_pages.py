"""The bibliography has every title that a docstring refers to; the matrix names what there is."""

import ast
import re
from pathlib import Path

import captum_spectral
from captum_spectral import attr, weights

DOCS = Path(__file__).parents[2] / "docs"
PACKAGE = Path(captum_spectral.__file__).parent


def page(name):
    return " ".join((DOCS / name).read_text(encoding="utf-8").split())


def titles():
    """Title to the place of every work in a section of references."""
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.get_docstring(node) if isinstance(node, kinds) else None
            if text and "References:" in text:
                section = " ".join(text.split("References:")[1].split("\n\n")[0].split())
                for title in re.findall(r"\*([^*]+)\*", section):
                    yield title, f"{path.name}: {getattr(node, 'name', '')}"


def test_the_bibliography_has_every_work_that_a_docstring_refers_to():
    found = list(titles())
    assert len(found) > 40
    bibliography = page("bibliography.md")
    assert [pair for pair in found if pair[0] not in bibliography] == []


def test_no_work_stands_in_the_bibliography_twice():
    listed = re.findall(r"^- [^*]*\*([^*]+)\*", (DOCS / "bibliography.md").read_text(), re.M)
    assert len(listed) == len(set(listed)) > 40


def test_the_matrix_names_public_things_and_leaves_no_method_out():
    matrix = page("which-method.md")
    named = set(re.findall(r"`(?:weights\.)?([A-Za-z_]+)(?:=False)?`", matrix))
    known = set(captum_spectral.__all__) | set(weights.__all__)
    options = {"budget", "n_samples", "absolute"}
    assert {name for name in named if name not in known} <= options
    attributions = {n for n in attr.__all__ if n[0].isupper()}
    assert attributions <= named
