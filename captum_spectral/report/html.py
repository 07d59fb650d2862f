"""Parts of a page that stands alone: one file that asks nothing of a network.

Every text that goes in is escaped here and nowhere else. The page carries a policy that lets it run
its own script and style, known by their digests, and show images that lie within it; a browser then
refuses all else, whatever a name might have smuggled in.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from captum_spectral.report.layout import all_versions
from captum_spectral.sources.documents import printable

__all__ = ["Cell", "Image", "Table", "page"]

_STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1c1e21; --faint: #5b6168;
  --line: #d5d9de; --card: #f4f6f8; --accent: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --back: #14171a; --text: #e6e8ea; --faint: #a3abb3;
  --line: #3a4048; --card: #1f2429; --accent: #7db8f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1rem; background: var(--back);
  color: var(--text); font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 1rem; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; }
.verdict { border-left: .3rem solid var(--accent); background: var(--card); margin: 0;
  padding: .75rem 1rem; border-radius: 0 .4rem .4rem 0; }
.verdict p { margin: 0; } .verdict p + p { margin-top: .5rem; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem; }
figure { margin: 1rem 0; }
img { display: block; width: 100%; height: auto; min-width: 34rem; background: #fff; }
figcaption, .note { color: var(--faint); font-size: .9rem; }
figcaption { margin-top: .35rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; text-align: right; vertical-align: bottom; white-space: nowrap;
  overflow-wrap: normal; border-bottom: 1px solid var(--line); }
tr:last-child > * { border-bottom: 0; }
thead tr:last-child > * { border-bottom: 1px solid var(--line); }
thead th { background: var(--card); white-space: normal; overflow-wrap: break-word; }
th:first-child { text-align: left; position: sticky; left: 0; }
tbody th { font-weight: normal; background: var(--back); white-space: normal;
  overflow-wrap: break-word; max-width: min(20rem, 40vw); }
td:not([data-value]) { text-align: left; white-space: normal; min-width: 9rem; }
th button { all: unset; cursor: pointer; font-weight: bold; }
th button:focus-visible, .wide:focus-visible, summary:focus-visible { outline: 2px solid
  var(--accent); outline-offset: 2px; }
th button::after { content: "\\a0\\2195"; color: var(--faint); }
th[aria-sort=ascending] button::after { content: "\\a0\\2191"; }
th[aria-sort=descending] button::after { content: "\\a0\\2193"; }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .25rem 1rem;
  margin: 0; }
dt { color: var(--faint); } dd { margin: 0; white-space: pre-wrap; }
pre { white-space: pre-wrap; background: var(--card); border: 1px solid var(--line);
  border-radius: .4rem; padding: .75rem; margin: 0; }
summary { cursor: pointer; }
@media print { .wide { overflow: visible; } img { min-width: 0; } }
"""

# Puts a button into every heading of a column. Without scripts the table is whole, and unsorted.
_SCRIPT = """
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const [p, q] = [Number(x), Number(y)];
        const ascending = isNaN(p) || isNaN(q) ? x.localeCompare(y) : p - q;
        return up ? ascending : -ascending;
      };
      body.append(...Array.from(body.rows).sort(order));
    });
  });
}
"""


class Cell(NamedTuple):
    """A cell of a table that is sorted by a number, not by its text.

    Attributes:
        text: The text shown.
        value: The number to sort by; None: the cell stays below the others.
    """

    text: str
    value: float | None


class Table(NamedTuple):
    """A table that a click on a heading sorts.

    Attributes:
        head: Headings of the columns.
        rows: Cells; the first of a row names it.
        caption: A sentence on how to read it.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    caption: str


class Image(NamedTuple):
    """A figure inside the page.

    Attributes:
        png: The content of a PNG file.
        alternative: What it shows, for whoever does not see it.
        caption: A sentence below it.
    """

    png: bytes
    alternative: str
    caption: str = ""


def page(
    title: str,
    verdict: Sequence[str],
    parts: Mapping[str, Sequence[Table | Image | str]],
    *,
    settings: Mapping[str, object],
    skipped: Sequence[tuple[str, str]] = (),
    command: str | None = None,
) -> str:
    """Write a page.

    Args:
        title: Its title, one line.
        verdict: The answer in sentences, a paragraph each.
        parts: Heading to tables, figures and paragraphs.
        settings: Name to value of all that went into the numbers.
        skipped: ``(name, reason)`` of the files that were not used. Default: none
        command: The command line that makes the page again. Default: None

    Returns:
        A document in HTML, encodable as UTF-8 whatever the names of files hold.
    """
    body = [f"<h1>{_text(title)}</h1>", f'<div class="verdict">{_paragraphs(verdict)}</div>']
    for heading, items in parts.items():
        body += [f"<h2>{_text(heading)}</h2>", *map(_item, items)]
    if skipped:
        items = "".join(f"<li>{_text(name)}: {_text(reason)}</li>" for name, reason in skipped)
        body.append(
            f"<h2>Files that were not used</h2><details><summary>{len(skipped)} "
            f"file{'s' * (len(skipped) > 1)}, with the reasons</summary><ul>{items}</ul></details>"
        )
    body.append(f"<h2>Settings</h2>{_definitions(settings)}")
    if command is not None:
        body.append(f"<h2>To make this page again</h2><pre><code>{_text(command)}</code></pre>")
    made = ", ".join(f"{name} {version}" for name, version in all_versions().items())
    body.append(f'<p class="note">Made with {_text(made)}.</p>')
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(_STYLE)}; "
        f"script-src {_digest(_SCRIPT)}; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n"
        '<link rel="icon" href="data:,">\n'  # or a server is asked for one
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + f"\n</main>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _digest(content: str) -> str:
    """Return the source expression that admits an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _text(x: object) -> str:
    """Escape a text; what is no text, such as bytes of another encoding, is written out."""
    return escape("\n".join(map(printable, str(x).split("\n"))))


def _paragraphs(texts: Sequence[str]) -> str:
    return "".join(f"<p>{_text(text)}</p>" for text in texts)


def _item(item: Table | Image | str) -> str:
    if isinstance(item, str):
        return f"<p>{_text(item)}</p>"
    if isinstance(item, Image):
        data = base64.b64encode(item.png).decode("ascii")
        shown = f'<img src="data:image/png;base64,{data}" alt="{_text(item.alternative)}">'
        below = f"<figcaption>{_text(item.caption)}</figcaption>" if item.caption else ""
        return f"<figure>{_scrolled(shown, 'figure')}{below}</figure>"
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in item.head)
    rows = "".join(f"<tr>{''.join(map(_cell, row, range(len(row))))}</tr>" for row in item.rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    below = f"<figcaption>{_text(item.caption)}</figcaption>"
    return f"<figure>{_scrolled(table, 'table')}{below}</figure>"


def _scrolled(content: str, kind: str) -> str:
    """Wrap what may be wider than a telephone, so that it scrolls by itself, by keyboard too."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{kind}">{content}</div>'


def _cell(cell: str | Cell, column: int) -> str:
    text, value = (cell.text, cell.value) if isinstance(cell, Cell) else (cell, None)
    if isinstance(cell, Cell):
        sorted_by = f' data-value="{"" if value is None else repr(value)}"'
    else:
        sorted_by = ""
    tag = 'th scope="row"' if column == 0 else "td"
    return f"<{tag}{sorted_by}>{_text(text)}</{tag.split()[0]}>"


def _definitions(entries: Mapping[str, object]) -> str:
    def shown(x: object) -> str:
        return "none" if x is None else str(x)

    pairs = (f"<dt>{_text(name)}</dt><dd>{_text(shown(x))}</dd>" for name, x in entries.items())
    return f"<dl>{''.join(pairs)}</dl>"
