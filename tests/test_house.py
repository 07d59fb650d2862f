"""Rules of the house, read off the source."""

import ast
import re
from pathlib import Path

import pytest

import captum_spectral

TESTS = Path(__file__).parent
PACKAGE = Path(captum_spectral.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_ARGUMENTS = 5  # by position, in one call
MOST_LINES = {"captum_spectral": 500, "tests": 420}  # half of a file of the package is docstrings
NOUN_CLAUSE = re.compile(r"(What|Which|How|Where|Whether|Who)\b")


def in_package(path):
    return str(path.relative_to(PACKAGE))


def nodes(path, *kinds):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def long_calls(path):
    """Line and source of the calls that only their order of arguments explains."""
    return [
        f"{node.lineno}: {ast.unparse(node.func)} ({len(node.args)})"
        for node in nodes(path, ast.Call)
        if len(node.args) > MOST_ARGUMENTS
    ]


def summaries(path):
    """Line and first line of every docstring."""
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    found = ((getattr(n, "lineno", 1), ast.get_docstring(n)) for n in nodes(path, *kinds))
    return [f"{line}: {text.splitlines()[0]}" for line, text in found if text]


@pytest.mark.parametrize("path", MODULES, ids=in_package)
def test_no_call_has_more_than_five_arguments_by_position(path):
    assert long_calls(path) == []


@pytest.mark.parametrize("path", MODULES, ids=in_package)
def test_no_docstring_opens_with_a_noun_clause(path):
    wrong = [s for s in summaries(path) if NOUN_CLAUSE.match(s.split(": ", 1)[1])]
    assert wrong == []


@pytest.mark.parametrize("folder", [PACKAGE, TESTS], ids=["captum_spectral", "tests"])
def test_files_are_small(folder):
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in folder.rglob("*.py")}
    assert {
        str(p.relative_to(folder)): n for p, n in lengths.items() if n > MOST_LINES[folder.name]
    } == {}


def test_the_rules_see_what_breaks_them(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text('"""Which is no sentence."""\nf(1, 2, 3, 4, 5, 6)\nf(1, 2, 3, 4, 5, x=6)\n')
    assert long_calls(path) == ["2: f (6)"]
    assert summaries(path) == ["1: Which is no sentence."]
    assert NOUN_CLAUSE.match("Which is no sentence.")
    assert not NOUN_CLAUSE.match("Whole sentences pass.")
