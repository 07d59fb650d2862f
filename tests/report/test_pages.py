"""Pages in HTML: they stand alone, say what the numbers do, and take any name as a text."""

import base64
import hashlib
import re
from pathlib import Path

import pytest
import torch
from pages import COMMAND, EVIL, PAGES, Parsed, page_of_explanation, page_of_importance

from captum_spectral.report.html import Cell, Table, page

kinds = pytest.mark.parametrize("make", PAGES.values(), ids=PAGES)


@kinds
def test_a_name_that_is_markup_is_shown_as_it_is(make):
    parsed = Parsed(make())
    assert len(parsed.of("script")) == 1
    assert all(not any(name.startswith("on") for name in a) for _, a in parsed.tags)
    everything = "".join("".join(texts) for texts in parsed.texts.values())
    assert EVIL in everything
    assert COMMAND in parsed.text("code")


@kinds
def test_the_page_asks_for_nothing_outside_of_itself(make):
    text = make()
    parsed = Parsed(text)
    assert parsed.open == []  # every tag is closed
    links = [v for _, a in parsed.tags for k, v in a.items() if k in ("src", "href", "srcset")]
    assert links
    assert all(link.startswith("data:") for link in links)
    style = parsed.text("style")
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = (a["content"] for a in parsed.of("meta") if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(parsed.text(tag).encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


@kinds
def test_the_page_can_be_read_without_eyes_and_on_a_telephone(make):
    parsed = Parsed(make())
    assert parsed.of("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in parsed.of(
        "meta"
    )
    assert all(len(image["alt"]) > 20 for image in parsed.of("img"))
    assert all(head.get("scope") in ("col", "row") for head in parsed.of("th"))
    assert len(parsed.of("figcaption")) >= len(parsed.of("table")) > 0
    assert len(parsed.of("h1")) == len(parsed.of("main")) == 1
    assert "prefers-color-scheme: dark" in parsed.text("style")


def test_the_verdict_of_an_explanation_follows_from_its_values():
    text = page_of_explanation()
    assert "The whole image adds +5.00 logits to what an input of zeros gives. Band 0" in text
    assert "adds most, +3.00; the lower half of the bands adds +4.50, the upper +0.50" in text
    assert "Against the class: band 2." in text
    assert "standard error" not in text
    estimated = page_of_explanation(torch.full((4,), 0.5, dtype=torch.float64))
    assert "standard error" in estimated
    assert "Student&#x27;s t, 9 degrees of freedom" in estimated


def test_the_verdict_of_several_models_names_who_draws_on_low_frequencies():
    parsed = Parsed(page_of_importance())
    text = parsed.text("p")
    assert re.search(
        r"Of 2 models net draws most on low frequencies \(signed score 0\.\d\d\)", text
    )
    assert "their intervals do not overlap" in text
    assert "net: a picture is worth +3.50 nats to it." in text


def test_skipped_files_are_listed_with_their_reasons_or_not_named_at_all():
    many = tuple((f"{i}.png", "it is empty") for i in range(3))
    text = page_of_importance(many)
    assert "3 files, with the reasons" in text
    assert text.count(": it is empty</li>") == 3
    assert "Files that were not used" not in page_of_importance(())


def test_cells_carry_the_numbers_that_they_are_sorted_by():
    rows = [["a", Cell("1.0e+01", 10.0), Cell("-", None)], ["b", Cell("9", 9.0), "text"]]
    table = Table(["name", "x", "y"], rows, "caption")
    text = page("t", ["v"], {"part": [table]}, settings={})
    assert '<td data-value="10.0">1.0e+01</td><td data-value="">-</td>' in text
    assert '<th scope="row">b</th><td data-value="9.0">9</td><td>text</td>' in text


def test_bytes_that_are_no_text_and_signs_that_turn_the_line_are_written_out():
    text = page("fl\udcfcche\x1b[2J", ["gpj.\u202ecod"], {}, settings={"x": None})
    assert "fl\\udcfcche\\x1b[2J" in text
    assert "gpj.\\u202ecod" in text
    assert "<dt>x</dt><dd>none</dd>" in text
    text.encode()  # as UTF-8


def test_the_package_has_no_page_of_another_kind():
    """A second writer of HTML would have to escape a second time."""
    folder = Path(__import__("captum_spectral").__file__).parent
    writers = {p.name for p in folder.rglob("*.py") if "<html" in p.read_text(encoding="utf-8")}
    assert writers == {"html.py"}
