"""Notebooks, documentation and benchmarks pass what comes after ``target`` by its name."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The most arguments by position: those up to target (and the masks and signals of functions).
MOST = {
    "attribute": 2,
    "BandGame": 3,
    "Game": 3,
    "band_attribution": 4,
    "find_boundary": 3,
    "insertion_curve": 4,
    "deletion_curve": 4,
    "split_bands": 2,
    "band_sums": 2,
    "band_profile": 2,
    "pixel_map": 2,
}
PAGES = sorted(
    path
    for pattern in ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "benchmarks/**/*.py",
                    "**/*.ipynb", "captum_spectral/**/*.py")
    for path in ROOT.glob(pattern)
    if not any(part.startswith(".") or part == "build" for part in path.relative_to(ROOT).parts)
)  # fmt: skip


def pieces(path):
    """The Python code in a page."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield text
        yield "\n".join(re.findall(r"^ *(?:>>>|\.\.\.) ?(.*)$", text, re.M))
    elif path.suffix == ".ipynb":
        for cell in json.loads(text)["cells"]:
            if cell["cell_type"] == "code":
                lines = "".join(cell["source"]).splitlines()
                yield "\n".join(line for line in lines if not line.startswith(("%", "!")))
    else:
        yield from re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)


def too_many(code):
    try:
        tree = ast.parse(code)
    except SyntaxError:  # a doctest cut into lines, a call with "..."
        return []
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and len(node.args) > MOST.get(getattr(node.func, "attr", getattr(node.func, "id", "")), 99)
    ]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_comes_after_the_target_is_named(path):
    assert [call for code in pieces(path) for call in too_many(code)] == []


def test_the_pages_are_all_there_and_a_wrong_call_is_seen(tmp_path):
    assert {path.suffix for path in PAGES} == {".md", ".py", ".ipynb"}
    code = "explainer.attribute(x, 0, 1)\nfind_boundary(model, x, 1, 2)\nattribute(x, target=1)"
    (tmp_path / "a.md").write_text(f"```python\n{code}\n```\n")
    (tmp_path / "a.py").write_text(code)
    (tmp_path / "a.ipynb").write_text(
        json.dumps({"cells": [{"cell_type": "code", "source": [f"%matplotlib\n{code}"]}]})
    )
    for name in ("a.md", "a.py", "a.ipynb"):
        found = [call for text in pieces(tmp_path / name) for call in too_many(text)]
        assert found == ["explainer.attribute(x, 0, 1)", "find_boundary(model, x, 1, 2)"]
