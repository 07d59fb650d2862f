"""Sphinx configuration."""

import shutil
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the extension beside this file
# Notebooks live where users look for them; Sphinx wants them below its own folder.
shutil.copytree(HERE.parent / "tutorials", HERE / "tutorials", dirs_exist_ok=True)

project = "captum_spectral"
author = "the captum_spectral developers"
copyright = f"2026, {author}"
version = release = installed_version("captum-spectral")

extensions = [
    "mathml",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_nb",
]
exclude_patterns = ["_build", "jupyter_execute"]
# The README links to files of the repository that are no pages of the documentation.
suppress_warnings = ["myst.xref_missing"]
html_theme = "furo"
html_title = "captum_spectral"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # types stand in the docstrings, with shapes
napoleon_custom_sections = [("Warns", "returns_style")]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
html_math_renderer = "mathml"
nb_execution_mode = "off"  # executed by `make tutorials`; the pages show the stored outputs
