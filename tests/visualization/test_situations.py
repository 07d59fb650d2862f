"""Every public figure in every situation that names, styles, places and sizes can bring."""

import contextlib
from dataclasses import dataclass, field, replace

import matplotlib
import numpy as np
import pytest
import torch
from drawings import waves
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from measured import faults, texts_of

from captum_spectral import visualization
from captum_spectral.visualization import _text
from captum_spectral.visualization._drawing import set_title

PATH = "a_folder_with_a_long_name_1/another_folder_with_a_long_name/and_a_third_one/" * 3
LONG = "negative logarithm of the probability of the true class"
MODEL = "mypackage.models.classification:resnet50_finetuned_on_flowers"


@dataclass
class Situation:
    """What may differ from one figure to the next."""

    names: tuple[str, str] = ("first", "second")
    title: str | None = "a title"
    unit: str = "logits"
    num_bands: int = 4
    shape: tuple[int, int] = (16, 16)
    scale: float = 1.0
    place: str = "own"
    size: tuple[float, float] | None = None
    dtype: torch.dtype | type = torch.float32
    empty: bool = False
    style: dict[str, object] = field(default_factory=dict)


PLAIN = Situation()
DARK = {"style": matplotlib.style.library["dark_background"]}
SITUATIONS = {
    "plain": PLAIN,
    "no mathematics": replace(PLAIN, names=("_ema", "$\\nosuch{"), title="$\\x{ 5 $", unit="$_"),
    "long names": replace(PLAIN, names=(MODEL, MODEL + "_v2"), title=f"{PATH}, 3 pictures"),
    "uppercase": replace(PLAIN, names=(MODEL.upper(), "W" * 90), title=PATH.upper(), unit=LONG),
    "no glyphs": replace(PLAIN, names=("图片\x1b[2J", "Stra\udcdfe\n2"), title="图 😀 \t\u200b"),
    "right to left": replace(PLAIN, names=("مرحبا بالعالم", "שלום"), title="مرحبا"),
    "dark": replace(PLAIN, **DARK),
    "ggplot": replace(PLAIN, style=matplotlib.style.library["ggplot"]),
    "large letters": replace(PLAIN, style={"font.size": 15.0}),
    "transparent": replace(PLAIN, style={"figure.facecolor": (1, 1, 1, 0)}),
    "dark subfigure": replace(PLAIN, place="subfigure", names=(MODEL, "_b"), title=PATH, **DARK),
    "tall subfigure": replace(PLAIN, place="subfigure", shape=(100, 12)),
    "no layout": replace(PLAIN, place="bare", names=("a model", "another")),
    "dark figure": replace(PLAIN, place="dark"),
    "tall": replace(PLAIN, shape=(100, 12)),
    "wide": replace(PLAIN, shape=(12, 100)),
    "one band": replace(PLAIN, num_bands=1),
    "many bands": replace(PLAIN, num_bands=33),
    "huge": replace(PLAIN, scale=1e30),
    "minute": replace(PLAIN, scale=1e-30),
    "nothing": replace(PLAIN, scale=0.0),
    "half": replace(PLAIN, dtype=np.float16),
    "empty bands": replace(PLAIN, empty=True),
    "long and small": replace(PLAIN, size=(3.6, 3.6), names=(MODEL, "b"), title=PATH),
}


def given(situation, panels=1):
    """Axes of a figure that is not ours, or the options of a new one."""
    options = {"title": situation.title, "use_pyplot": False}
    if situation.place == "own":
        return options | ({"fig_size": situation.size} if situation.size else {})
    shape = (2, 3) if panels > 1 else (1, 1)
    if situation.place == "subfigure":
        figure = Figure(figsize=(10, 4.5), layout="constrained").subfigures(1, 2)[1]
    else:
        figure = Figure(
            figsize=(7, 4.5), layout=None if situation.place == "bare" else "constrained"
        )
        if situation.place == "dark":
            figure.set_facecolor("0.1")
    axes = figure.subplots(*shape)
    if situation.place == "bare":
        figure.subplots_adjust(hspace=0.5)  # without a layout, room between panels is the caller's
    if situation.place == "dark":
        for ax in np.ravel(axes):
            ax.set_facecolor("0.1")
            ax.tick_params(colors="white")
            for text in (ax.title, ax.xaxis.label, ax.yaxis.label):
                text.set_color("white")
    return options | {"plt_fig_axis": (figure, axes)}


def as_kind(x, situation):
    kind = situation.dtype
    return x.to(kind) if isinstance(kind, torch.dtype) else x.numpy().astype(kind)


def frequencies(situation):
    edges = torch.linspace(0, 0.5, situation.num_bands + 1)
    ranges = torch.stack([edges[:-1], edges[1:]], 1)
    if situation.empty:
        ranges[[1, -1]] = torch.nan
    return ranges


def values(situation, *rows):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(*rows, situation.num_bands, generator=generator) * situation.scale
    return as_kind(x, situation)


def bars(s):
    x = values(s, 2)
    errors = abs(values(s, 2)) / 4
    return visualization.visualize_band_attr(
        x, frequencies(s), errors, s.names, unit=s.unit, **given(s)
    )


def shares(s):
    x = torch.rand(2, s.num_bands, generator=torch.Generator().manual_seed(0))
    if s.empty:
        x[:, [1, -1]] = 0.0
    x = as_kind(x / x.sum(1, keepdim=True), s)
    return visualization.visualize_cumulative_shares(
        x, frequencies(s), s.names, frequency_unit=s.unit, **given(s)
    )


def curves(s):
    x = torch.linspace(0, 1, 5)
    lines = {
        name: as_kind(s.scale * torch.rand(3, 5, generator=torch.Generator().manual_seed(i)), s)
        for i, name in enumerate([*s.names, *"abcde"])
    }
    return visualization.visualize_curves(x, lines, ylabel=s.unit, **given(s))


def accuracy(s):
    """Seven models and more, every other with errors and a control."""
    x = torch.tensor([0.01, 0.02, 0.04, 0.1, 0.3])
    lines = {
        name: as_kind(torch.rand(5, generator=torch.Generator().manual_seed(i)).sort().values, s)
        for i, name in enumerate([*s.names, *"abcdefg"])
    }
    some = {name: lines[name] / 10 for name in list(lines)[::2]}
    return visualization.visualize_accuracy(
        x, lines, some, some, ylabel=s.unit, xscale="log", **given(s)
    )


def maps(s):
    generator = torch.Generator().manual_seed(0)
    maps = {
        name: as_kind(s.scale * torch.randn(2, 1, *s.shape, generator=generator), s)
        for name in s.names
    }
    images = as_kind(torch.full((2, 3, *s.shape), 0.5), s)
    return visualization.visualize_maps(images, maps, s.names, **given(s))


def bands(s):
    image, parts = waves(s.num_bands, (1, *s.shape))
    drawn = given(s, panels=s.num_bands + 1)
    return visualization.visualize_bands(
        as_kind(image, s),
        as_kind(parts, s),
        values(s),
        frequencies(s),
        unit=s.unit,
        **drawn,
    )


def spectrum(s):
    generator = torch.Generator().manual_seed(0)
    painted = as_kind(s.scale * torch.randn(s.shape, generator=generator), s)
    image = as_kind(torch.rand(3, *s.shape, generator=generator), s)
    return visualization.visualize_spectrum(painted, image, unit=s.unit, **given(s))


def snr(s):
    f = torch.arange(1, 24) / 32
    generator = torch.Generator().manual_seed(0)
    lines = {name: as_kind(s.scale * torch.randn(23, generator=generator), s) for name in s.names}
    steps = {name: values(s) for name in s.names}
    return visualization.visualize_snr(f, lines, frequencies(s), steps, **given(s))


def heat_maps(s):
    generator = torch.Generator().manual_seed(0)
    drawn = {
        name: as_kind(s.scale * torch.rand(s.shape, generator=generator), s) for name in s.names
    }
    return visualization.visualize_heat_maps(drawn, unit=s.unit, **given(s))


def points(s):
    """Five models of three families, with errors of both coordinates."""
    generator = torch.Generator().manual_seed(0)
    x = as_kind(s.scale * torch.randn(4, 5, generator=generator), s)
    return x, [*s.names, s.names[0], "c", "c"]


def association(s):
    (x, y, x_error, y_error), families = points(s)
    return visualization.visualize_association(
        x, y, families, abs(x_error) / 4, abs(y_error) / 4, coefficient=-0.5, interval=(-0.9, 0.1),
        xlabel=s.unit, ylabel=s.unit, **given(s),
    )  # fmt: skip


def embedding(s):
    x, families = points(s)
    explained = torch.tensor([0.6, 0.25])
    return visualization.visualize_embedding(x[:2].T, families, explained, **given(s))


def epochs(s):
    x, _ = points(s)
    lines, errors = ({s.names[0]: a, s.names[1]: b} for a, b in (x[:2], abs(x[2:]) / 4))
    return visualization.visualize_epochs(
        torch.arange(5), lines, errors, ylabel=s.unit, legend_title=s.names[0], **given(s)
    )


def correlations(s):
    r = torch.tensor([[0.9, -0.6, torch.nan], [0.1, -1.0, 0.0]])
    ends = (as_kind((r + d).clamp(-1, 1), s) for d in (-0.3, 0.3))
    names = [*s.names, "c"]
    return visualization.visualize_correlations(as_kind(r, s), *ends, s.names, names, **given(s))


def sectors(s):
    """As many rings as bands, of three orientations, around a disc; half of them are unsure."""
    edges = torch.linspace(0.05, 0.5, s.num_bands + 1).tolist()
    rows = [
        (low, high, 60.0 * a - 30, 60.0 * a + 30)
        for low, high in zip(edges[:-1], [*edges[1:-1], np.inf], strict=True)
        for a in range(3)
    ]
    geometry = torch.tensor([(0.0, 0.05, 0.0, 180.0), *rows])
    x = some_players(s, len(geometry))
    errors = abs(x)
    errors[::2] = errors[::2] / 4
    return visualization.visualize_sectors(x, geometry, errors, unit=s.unit, **given(s))


def wavelets(s):
    x = some_players(s, 1 + 3 * min(s.num_bands, 6))
    return visualization.visualize_wavelets(x, abs(x) / 4, unit=s.unit, **given(s))


def table(s):
    x = some_players(s, 2 * s.num_bands).reshape(2, s.num_bands)
    columns = [*s.names, *"abcdefghijklmnopqrstuvwxyz" * 2][: s.num_bands]
    return visualization.visualize_table(x, abs(x) / 4, s.names, columns, unit=s.unit, **given(s))


def named(s):
    x = some_players(s, s.num_bands)
    names = [*s.names, *(f"player {i}" for i in range(s.num_bands))][: s.num_bands]
    return visualization.visualize_named_attr(x, names, abs(x) / 4, unit=s.unit, **given(s))


def some_players(s, count):
    x = torch.randn(count, generator=torch.Generator().manual_seed(0)) * s.scale
    if s.empty:
        x[[1, -1]] = torch.nan
    return as_kind(x, s)


def pairs(s):
    """A symmetric matrix with single players ten times as large, half of the pairs uncertain."""
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(s.num_bands, s.num_bands, generator=generator)
    matrix = s.scale * (half + half.T + 10 * half.diag().diag())
    if s.empty:
        matrix[:, -1] = matrix[-1] = torch.nan
    names = [*s.names, *(f"band {i}" for i in range(s.num_bands))][: s.num_bands]
    return as_kind(matrix, s), as_kind(torch.full_like(half, s.scale), s), names


def interactions(s):
    return visualization.visualize_interactions(*pairs(s), unit=s.unit, **given(s))


def interaction_network(s):
    matrix, error, names = pairs(s)
    return visualization.visualize_interaction_network(
        matrix, None, names, standard_error=error, **given(s)
    )


def responses(s):
    """A layer with a stride, and one that sees what is left."""
    ends = torch.stack([frequencies(s), frequencies(s) / 2])
    share = torch.tensor([0.28, 0.0])
    return visualization.visualize_responses(
        abs(values(s, 2)), as_kind(ends, s), s.names, [2, 1], share, **given(s)
    )


FIGURES = {
    f.__name__: f for f in (bars, shares, curves, accuracy, maps, bands, spectrum, snr, heat_maps)
}
FIGURES |= {f.__name__: f for f in (association, embedding, epochs, correlations)}
FIGURES |= {f.__name__: f for f in (sectors, wavelets, table, named)}
PLAYERS = ("sectors", "wavelets", "table", "named")
FIGURES |= {f.__name__: f for f in (interactions, interaction_network, responses)}
OF_PAIRS = ("interactions", "interaction_network")
OVER_MODELS = ("association", "embedding", "epochs")
# What a figure does not know cannot change it: (field, figures that know it).
KNOWN_TO = {
    "place": (
        *("bars", "shares", "curves", "accuracy", "bands", "spectrum", "snr"),
        *(*OVER_MODELS, "correlations", *PLAYERS, "responses", *OF_PAIRS),
    ),
    "shape": ("maps", "bands", "spectrum", "heat_maps"),
    "num_bands": ("bars", "shares", "bands", "snr", *PLAYERS, "responses", *OF_PAIRS),
    "empty": ("bars", "shares", "bands", "snr", *PLAYERS, "responses", *OF_PAIRS),
    "scale": (
        *("bars", "curves", "maps", "bands", "spectrum", "snr", "heat_maps"),
        *(*OVER_MODELS, *PLAYERS, "responses", *OF_PAIRS),
    ),
}
CASES = [
    (figure, name)
    for figure in FIGURES
    for name, situation in SITUATIONS.items()
    if all(
        getattr(situation, known) == getattr(PLAIN, known) or figure in figures
        for known, figures in KNOWN_TO.items()
    )
]


def test_every_public_figure_is_drawn():
    assert len(FIGURES) == len(visualization.__all__)


@pytest.mark.parametrize(("figure", "situation"), CASES)
def test_nothing_is_cut_off_or_covered_or_pale(figure, situation):
    s = SITUATIONS[situation]
    with matplotlib.rc_context(s.style) if s.style else contextlib.nullcontext():
        drawn, _ = FIGURES[figure](s)
        found = faults(drawn)
    plt.close("all")
    assert not found, "\n".join(found)
    assert texts_of(drawn.figure)


@pytest.mark.parametrize(
    "figure",
    [
        "bars",
        "shares",
        "curves",
        "accuracy",
        "spectrum",
        *OVER_MODELS,
        "correlations",
        *PLAYERS,
        *OF_PAIRS,
    ],
)
def test_a_figure_without_room_is_refused(figure):
    with pytest.raises(ValueError, match=r"fig_size=\(1, 1\) has no room.*at least \(2.4, 2.0\)"):
        FIGURES[figure](replace(PLAIN, size=(1, 1)))


def test_a_share_of_an_empty_band_is_refused():
    frequencies = torch.tensor([[0, 0.2], [torch.nan] * 2])
    with pytest.raises(ValueError, match=r"0 for a band without frequencies, got 0.4 for band 1"):
        visualization.visualize_cumulative_shares(
            torch.tensor([0.6, 0.4]), frequencies, use_pyplot=False
        )


def test_bands_within_each_other_come_in_the_order_of_their_ends():
    frequencies = torch.tensor([[0, 0.1], [torch.nan] * 2, [0.2, 0.5], [0.1, 0.3]])
    _, axes = visualization.visualize_cumulative_shares(
        torch.tensor([0.5, 0.0, 0.2, 0.3]), frequencies, use_pyplot=False
    )
    _, line = axes.get_lines()
    assert line.get_xdata().tolist() == pytest.approx([0, 0.1, 0.3, 0.5])
    assert line.get_ydata().tolist() == pytest.approx([0, 0.5, 0.8, 1])


def test_only_empty_bands_are_counted():
    _, axes = visualization.visualize_cumulative_shares(
        torch.tensor([1.0]), torch.zeros(1, 2), use_pyplot=False
    )
    assert axes.get_xlabel() == "bands"


def test_a_title_is_shortened_in_its_middle_and_broken():
    figure = Figure(figsize=(4, 3))
    text = set_title(figure, f"scores on {PATH}, 3 pictures", 3.8)
    assert text.get_text().startswith("scores on ")
    assert text.get_text().endswith(", 3 pictures")
    assert text.get_text().count("\n") == 1
    assert text.get_window_extent().width <= 3.8 * figure.dpi


def test_a_name_that_fits_is_left_as_it_is():
    text = set_title(Figure(), "a_name: $5 (ε = 4/255)", 6)
    assert text.get_text() == "a_name: $5 (ε = 4/255)"


def test_characters_come_from_an_installed_font_that_has_them(monkeypatch):
    monkeypatch.setattr(_text, "_FALLBACK", "no such font")
    with matplotlib.rc_context({"font.family": "cmr10", "axes.formatter.use_mathtext": True}):
        text = set_title(Figure(), "图ж", 6)
    assert text.get_text().endswith("ж")
    assert len(text.get_fontfamily()) > 2
