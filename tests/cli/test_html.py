"""Pages that commands write: whole, with the command that makes them again."""

import os
import shlex
from html import unescape
from pathlib import Path

from explained import explain, run
from PIL import Image

SMALL = ("--bands", "3", "--max-examples", "2")


def command_on(page):
    """The words of the command that a page shows."""
    text = unescape(page.split("<code>")[1].split("</code>")[0])
    assert text.startswith("captum-spectral ")
    return shlex.split(text)[1:]


def test_explain_writes_a_page_that_its_own_command_makes_again(place):
    output = explain(place, "--bands", "3", "--html", "a page.html")
    assert "written a page.html" in output
    page = Path("a page.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    assert f"<dd>{place}:net</dd>" in page
    os.remove("a page.html")
    assert run(*command_on(page)).exit_code == 0
    assert Path("a page.html").read_text(encoding="utf-8") == page


def test_score_writes_a_page_beside_the_rest(place):
    os.mkdir("data")
    name = "<script>alert(1)<!--.png"
    Image.open("photo.png").save("data/b.png")
    Path("data", name).write_bytes(b"junk")
    result = run("score", "--data", "data", "--model", f"{place}:net", *SMALL, "--out", "out")
    assert result.exit_code == 0, result.output
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert page.count("<script") == 1
    assert "&lt;script&gt;alert(1)&lt;!--.png" in page
    assert command_on(page)[:3] == ["score", "--data", "data"]
    assert "a picture is worth" in page or "its bands add" in page


def test_the_page_is_no_other_file_of_the_command(place):
    for other in ("--json", "--out"):
        result = run("explain", "photo.png", "--model", f"{place}:net", "--html", "x.png", other,
                     "x.png")  # fmt: skip
        assert result.exit_code == 2
        assert "--json and --html must be different files" in result.stderr
