"""Spectra of signals and volumes in the hard situations of the other figures."""

import contextlib

import matplotlib
import pytest
import torch
from measured import faults
from test_situations import SITUATIONS, as_kind, given

from captum_spectral.visualization import visualize_spectrum

HARD = ("long names", "dark subfigure", "no layout", "huge", "nothing", "half", "long and small")
SHAPES = {"signal": (2, 40), "volume": (1, 4, 12, 16)}


@pytest.mark.parametrize("situation", HARD)
@pytest.mark.parametrize("kind", SHAPES)
def test_nothing_is_cut_off_or_covered_or_pale(kind, situation):
    s = SITUATIONS[situation]
    generator = torch.Generator().manual_seed(0)
    inputs = as_kind(torch.rand(SHAPES[kind], generator=generator), s)
    painted = as_kind(s.scale * torch.randn(SHAPES[kind][1:], generator=generator), s)
    with matplotlib.rc_context(s.style) if s.style else contextlib.nullcontext():
        drawn, _ = visualize_spectrum(
            painted, inputs, unit=s.unit, sample_rate=16000.0, frequency_unit="Hz", **given(s)
        )
        assert faults(drawn) == []
