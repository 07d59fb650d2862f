"""Write texts as they are given: no mathematics, no missing glyphs, no wider than their place."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from captum_spectral.visualization._style import outside, visible

__all__ = ["set_title", "width", "write"]

_FALLBACK = "DejaVu Sans"  # comes with matplotlib
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_ELLIPSIS = "…"
_HINTED = 0.96  # letters on a canvas are up to 4 % wider than their outlines
_NARROWEST = 0.2  # em; no letter is narrower, so longer texts are cut before they are measured
# Fonts whose glyphs are not those of their code points, or that matplotlib cannot draw.
_UNUSABLE = re.compile(r"^cm\w+10$|emoji|last ?resort|dejavu sans display", re.IGNORECASE)
# Places for a new line: at a space, else inside of a path or a name, else anywhere.
_BREAKS = (r"(?<=\s)", r"(?<=[\s/\\_.:\-])|(?<=[a-z])(?=[A-Z])", r"(?<=.)")


def write(text: Text, inches: float | None = None, lines: int = 2) -> Text:
    """Show a text as it is given, within ``inches`` and so many lines, and return it.

    ``$`` and ``_`` are letters, not mathematics. Characters that the style's fonts lack come from
    any other installed font; those that no font has become the replacement character. A text that
    is too wide is broken, and shortened in its middle where that is not enough: names differ at
    their ends. A colour that cannot be seen beside the axes is changed.
    """
    text.set(parse_math=False, usetex=False)
    text.set_color(visible(text.get_color(), outside(text.figure)))
    content = _with_glyphs(text)
    if inches is not None:
        content = _fitted(content, lambda s: width(text, s), inches * _HINTED, lines)
    text.set_text(content)
    return text


def set_title(
    place: Figure | SubFigure | Axes, title: str, inches: float, lines: int = 2, **options: Any
) -> Text:
    """Give a figure or axes a title that is at most ``inches`` wide and ``lines`` high.

    Args:
        place: The figure, subfigure or axes.
        title: Any text; a long one is broken, then shortened in its middle.
        inches: Width that the title may take.
        lines: Number of lines that it may take. Default: 2
        options: Of ``suptitle`` or ``set_title``.
    """
    write_to = place.set_title if isinstance(place, Axes) else place.suptitle
    return write(write_to(title, **options), inches, lines)


def width(text: Text, content: str) -> float:
    """Return the width in inches of one line in the font of ``text``, letter by letter."""
    font = text.get_fontproperties()
    return sum(_advance(letter, font) for letter in content)


@lru_cache(maxsize=4096)
def _advance(letter: str, font: FontProperties) -> float:
    """Return the width of a letter between two others, in inches."""

    def points(content: str) -> float:
        return float(text_to_path.get_text_width_height_descent(content, font, False)[0])

    return (points(f"x{letter}x") - points("xx")) / 72


def _with_glyphs(text: Text) -> str:
    """Return the content of ``text`` in characters that can be drawn; give it the fonts for it."""
    content = re.sub(r"\r\n?|\v|\f|\x85|\u2028|\u2029", "\n", text.get_text()).replace("\t", " ")
    families = [*text.get_fontfamily(), _FALLBACK]
    known = frozenset[int]().union(*(_glyphs_of(text, family) for family in families))
    missing = {ord(c) for c in content} - known - {ord("\n")}
    for name, path in _installed() if any(map(_is_letter, missing)) else ():
        if missing & _glyphs(path):
            families.append(name)
            missing -= _glyphs(path)
        if not missing:
            break
    text.set_fontfamily(list(dict.fromkeys(families)))
    # Marks that steer the script and have no width of their own are dropped, others replaced.
    table = {c: None if unicodedata.category(chr(c)) in ("Cf", "Mn") else _UNKNOWN for c in missing}
    return content.translate(table)


def _is_letter(code: int) -> bool:
    """Return whether a font may have a glyph for it: no control character, no surrogate."""
    return unicodedata.category(chr(code)) not in ("Cc", "Cs", "Cn")


def _glyphs_of(text: Text, family: str) -> frozenset[int]:
    """Return the characters of the font that ``text`` has in this family, if it is installed."""
    font: FontProperties = text.get_fontproperties().copy()
    font.set_family(family)
    try:
        return _glyphs(findfont(font, fallback_to_default=False))
    except ValueError:
        return frozenset()


@lru_cache(maxsize=1024)
def _glyphs(path: str) -> frozenset[int]:
    """Return the characters that a font file can draw."""
    try:
        return frozenset(get_font(path).get_charmap())
    except (OSError, RuntimeError):  # a font that was uninstalled, or of a broken file
        return frozenset()


@lru_cache(maxsize=1)
def _installed() -> tuple[tuple[str, str], ...]:
    """Return name and file of every upright font of regular weight."""
    regular = (400, "normal", "regular", "book")
    fonts = {
        font.name: font.fname
        for font in fontManager.ttflist
        if font.style == "normal" and font.weight in regular and not _UNUSABLE.search(font.name)
    }
    return tuple(fonts.items())


def _fitted(content: str, measure: Callable[[str], float], limit: float, lines: int) -> str:
    """Return the content broken into lines below the limit, shortened only if it must be."""
    most = int(lines * limit / (_NARROWEST * measure("M") or 1.0)) + 1

    def broken(kept: int) -> str | None:
        half, shown = kept // 2, content
        if kept < len(content):
            shown = content[: kept - half] + _ELLIPSIS + content[len(content) - half :]
        for pattern in _BREAKS:
            wrapped = _wrapped(shown, pattern, measure, limit)
            if wrapped is not None and len(wrapped) <= lines:
                return "\n".join(wrapped)
        return None

    if len(content) <= most and (all_of_it := broken(len(content))) is not None:
        return all_of_it
    low, high = 0, min(most, len(content) - 1)  # the largest number of characters that fit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (low, middle - 1) if broken(middle) is None else (middle, high)
    return broken(low) or _ELLIPSIS


def _wrapped(
    content: str, pattern: str, measure: Callable[[str], float], limit: float
) -> list[str] | None:
    """Fill lines with the pieces between breaks; return None if a piece is too wide for one."""
    lines = []
    for paragraph in content.split("\n"):
        line = ""
        for piece in re.split(pattern, paragraph):
            if line and measure((line + piece).rstrip()) > limit:
                lines.append(line.rstrip())
                line = ""
            line += piece
            if measure(line.rstrip()) > limit:
                return None
        lines.append(line.rstrip())
    return lines
