"""Pages in a real browser: nothing is asked for, nothing is complained of, nothing sticks out."""

import json
import re
import shutil
import subprocess
from html import escape, unescape

import pytest
from pages import PAGES

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to look at pages")

# Pages are looked at from outside, through frames of the width of a telephone: their own policy
# stays in force, which admits no script but their own and no request, and tells the console of each
# that it refuses.
FRAME = '<iframe style="width:360px;height:700px;border:0" srcdoc="{}"></iframe>'
AROUND = """<!DOCTYPE html><link rel="icon" href="data:,">FRAMES<pre id="seen"></pre><script>
function seen(frame) {
  const root = frame.contentDocument, view = frame.contentWindow, column = 2;
  const table = root.querySelector("table");
  const order = () => Array.from(table.tBodies[0].rows, row => row.cells[column].textContent);
  const buttons = table.querySelectorAll("thead button"), orders = [order()];
  for (let i = 0; i < 2; i++) { buttons[column].click(); orders.push(order()); }
  return {
    orders, sorted: buttons[column].parentNode.getAttribute("aria-sort"),
    inner: view.innerWidth, title: root.title, scripts: root.scripts.length,
    overflow: root.documentElement.scrollWidth - root.documentElement.clientWidth,
    images: Array.from(root.images, image => image.naturalWidth),
  };
}
addEventListener("load", () => {
  const all = Array.from(document.querySelectorAll("iframe"), seen);
  document.getElementById("seen").textContent = JSON.stringify(all);
});
</script>"""


def seen(pages, folder):
    """What a script sees in each page, and the lines of the console."""
    path = folder / "around.html"
    frames = "".join(FRAME.format(escape(page)) for page in pages)
    path.write_text(AROUND.replace("FRAMES", frames), encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
         "--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}",
         "--enable-logging=stderr", "--window-size=1200,900", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="seen">(.+?)</pre>', done.stdout, re.S)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(unescape(found[1])), console


def test_a_browser_shows_pages_on_a_telephone_and_sorts_their_tables(tmp_path):
    found, console = seen([make() for make in PAGES.values()], tmp_path)
    assert console == []
    for page in found:
        assert (page["inner"], page["overflow"]) == (360, 0)
        assert page["scripts"] == 1
        assert page["title"] != "stolen"
        assert page["images"]
        assert all(page["images"])
        written, up, down = ([float(x.split()[0]) for x in order] for order in page["orders"])
        assert up == sorted(written)
        assert down == up[::-1]
        assert page["sorted"] == "descending"
    assert any(page["orders"][1] != page["orders"][2] for page in found)


def test_the_test_sees_what_sticks_out_and_what_is_refused(tmp_path):
    page = PAGES["importance"]()
    wide = '<main><img src="https://example.org/x.png" alt=""><div class="w">wide</div>'
    smuggled = "<main><script>document.title = 'stolen'</script>"
    open_to_all = re.sub(r"<meta http-equiv.*?>", "", page).replace(
        "<style>", "<style>.w { width: 500px; }"
    )
    pages = [page.replace("<main>", wide), page.replace("<main>", smuggled)]
    found, console = seen([*pages, open_to_all.replace("<main>", smuggled)], tmp_path)
    assert [page["title"] == "stolen" for page in found] == [False, False, True]
    refused = [line for line in console if "Content Security Policy" in line]
    assert len(refused) == len(console) == 2
    assert "example.org" in refused[0] + refused[1]
    (wider,), _ = seen([open_to_all.replace("<main>", wide.replace("https:", "data:"))], tmp_path)
    assert wider["overflow"] > 100
