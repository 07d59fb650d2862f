"""A distribution has all that it needs: tests, declared packages, a page for an index."""

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

import captum_spectral

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PACKAGE = Path(captum_spectral.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Where a package is not imported by the name that it is installed by.
INSTALLED_AS = {
    "PIL": "pillow",
    "pywt": "pywavelets",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}
SETUPTOOLS = int(version("setuptools").split(".")[0]) if find_spec("setuptools") else 0
# Another name of lightning's, and what torch brings along.
UNDECLARED = {"pytorch-lightning", "triton"}


@pytest.fixture(scope="module")
def setup_file():
    spec = importlib.util.spec_from_file_location("setup_of_this_project", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_index_shows_neither_links_nor_images_that_lead_nowhere(setup_file):
    text = setup_file.for_an_index((ROOT / "README.md").read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert targets
    assert all(target.startswith(("https://", "#")) for target in targets)
    assert "`docs/importance.md`" in text


def test_links_become_names_and_addresses_stay(setup_file):
    text = "a [page](docs/a.md), [docs/b.md](docs/b.md), [web](https://x.org), [up](#top)\n"
    assert setup_file.for_an_index(text + "![bars](docs/images/x.png)\n\nend") == (
        "a page (`docs/a.md`), `docs/b.md`, [web](https://x.org), [up](#top)\nend"
    )
    kept = "![badge](https://x.org/badge.svg)"
    assert setup_file.for_an_index(kept) == kept


@pytest.mark.skipif(SETUPTOOLS < 77, reason="the build asks for setuptools 77")
def test_a_source_distribution_has_what_its_tests_need(tmp_path):
    source = tmp_path / "source"  # building leaves folders behind
    heavy = shutil.ignore_patterns(".*", "*.png", "*.jpg", "*.ipynb", "__pycache__", "*.egg-info",
                                   "_build", "build", "dist")  # fmt: skip
    shutil.copytree(ROOT, source, ignore=heavy)
    code = f"from setuptools.build_meta import build_sdist as b; b({str(tmp_path)!r})"
    built = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, timeout=300
    )
    assert built.returncode == 0, built.stderr[-2000:]
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as held:
        names = {name.partition("/")[2] for name in held.getnames()}
    assert "captum_spectral/py.typed" in names
    assert {"CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "Makefile"} <= names
    for folder in ("tests", "docs", "benchmarks", "research", "tools", "captum_spectral"):
        for path in (source / folder).rglob("*"):
            if path.is_file() and path.suffix in (".py", ".md", ".txt", ".toml", ".json"):
                assert path.relative_to(source).as_posix() in names


def imported():
    """The outer names of all modules that the package imports, wherever it does."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


def names_of(requirements):
    return {re.match(r"[A-Za-z0-9_.-]+", line)[0].lower() for line in requirements}


def test_every_package_that_is_imported_is_declared():
    extras = names_of(line for lines in PROJECT["optional-dependencies"].values() for line in lines)
    declared = names_of(PROJECT["dependencies"]) | extras | UNDECLARED
    used = set(imported()) - set(sys.stdlib_module_names) - {"captum_spectral"}
    installed = {INSTALLED_AS.get(name, name).lower().replace("_", "-") for name in used}
    assert installed - declared == set()
    assert "pillow" in names_of(PROJECT["dependencies"])
