"""Importing costs what it needs: libraries are loaded when something is used that needs them."""

import subprocess
import sys

import pytest

HEAVY = ["captum", "matplotlib", "torch", "torchmetrics", "torchvision"]


def loaded_after(code):
    """The heavy libraries that a fresh interpreter has loaded after some code."""
    report = f"import sys; print(*[m for m in {HEAVY} if m in sys.modules])"
    command = [sys.executable, "-W", "ignore", "-c", f"{code}\n{report}"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


# In the order of what they may load: what an earlier one has loaded every later one may load, too.
STEPS = {
    "import captum_spectral": set(),
    "import captum_spectral; dir(captum_spectral); captum_spectral.__version__": set(),
    "import captum_spectral.cli": {"torch"},
    "from captum_spectral.coalitions import shapley_from_table": {"torch"},
    "from captum_spectral import visualization": {"matplotlib", "torch"},
    # Captum brings matplotlib along.
    "from captum_spectral import SpectralShapley": {"captum", "matplotlib", "torch"},
    "from captum_spectral import band_mask, BandGame": {"captum", "matplotlib", "torch"},
}


@pytest.fixture(scope="module")
def loaded_by():
    """What one interpreter has loaded after each of the steps."""
    lines = [f"{code}; print(*[m for m in {HEAVY} if m in sys.modules])" for code in STEPS]
    command = [sys.executable, "-W", "ignore", "-c", "\n".join(["import sys", *lines])]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(zip(STEPS, map(str.split, printed.split("\n")[:-1]), strict=True))


@pytest.mark.parametrize("code", STEPS)
def test_nothing_is_loaded_before_it_is_needed(loaded_by, code):
    assert set(loaded_by[code]) <= STEPS[code]


def test_what_is_loaded_is_seen(loaded_by):
    """So that the sets above are not empty for want of looking."""
    assert set(list(loaded_by.values())[-1]) >= {"captum", "torch"}


def test_every_promised_name_is_found_and_no_other():
    code = """
import captum_spectral
for name in captum_spectral.__all__:
    getattr(captum_spectral, name)
try:
    captum_spectral.SpectralShapely
except AttributeError as error:
    assert "has no attribute 'SpectralShapely'" in str(error)
else:
    raise SystemExit("found")
"""
    assert "torchmetrics" in loaded_after(code)
