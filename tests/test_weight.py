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


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import captum_spectral", set()),
        ("import captum_spectral; dir(captum_spectral); captum_spectral.__version__", set()),
        # Captum brings matplotlib along.
        ("from captum_spectral import SpectralShapley", {"captum", "matplotlib", "torch"}),
        ("from captum_spectral import band_mask, BandGame", {"captum", "matplotlib", "torch"}),
        ("from captum_spectral import visualization", {"matplotlib", "torch"}),
        ("from captum_spectral.coalitions import shapley_from_table", {"torch"}),
        ("import captum_spectral.cli", {"torch"}),
    ],
)
def test_nothing_is_loaded_before_it_is_needed(code, allowed):
    assert loaded_after(code) <= allowed


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
