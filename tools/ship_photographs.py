"""Make the bundled photographs: ``python tools/ship_photographs.py --gcompris DIR``.

They come from two places, and only what is in the public domain or under CC0 is taken:

- GCompris, a collection of games for children, in Debian's package ``gcompris-qt-data`` (3.1-2).
  ``apt-get download gcompris-qt-data && dpkg-deb -x gcompris-qt-data_*.deb DIR`` unpacks it. Its
  pictures are WebP in Qt resource files, and a README beside them names author, licence and source
  of each.
- The wheel of scikit-image, which must be installed.

Left out are

- licences that ask for more than CC0 does: most pictures of the game "erase", and the two of
  scikit-learn, which are CC BY 2.0;
- pictures without a stated licence: the motorcycle of scikit-image, and the 20 pictures of ImageNet
  in foolbox's wheel, whose authors are not even named;
- pictures of less than 256 px on their short side: to enlarge them would invent an empty highest
  band;
- paintings ("paintings", "details"), and objects cut out and laid over a plain ground
  ("categorization"), whose spectra are those of an outline;
- what ``_LEFT_OUT`` names: portraits of living people, and water in which nothing can be seen.

The photographs are scaled to 288 px on the short side and saved as JPEG. Three networks look at
each: a class on which EfficientNet-Lite0, 1 and 2 agree is kept as its consensus, with the mean of
their probabilities. It is what these networks say, and no ground truth.
"""

from __future__ import annotations

import argparse
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from PIL import Image
from qt_resources import read_resources

from captum_spectral.sources.decoding import to_rgb
from captum_spectral.sources.models import load_model

FOLDER = Path(__file__).parents[1] / "captum_spectral" / "sources" / "photographs"
SHORT_SIDE, SMALLEST, QUALITY = 288, 256, 85
NETWORKS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")

_GAMES = (
    "clickgame",
    "erase",
    "explore_farm_animals",
    "explore_monuments",
    "explore_world_animals",
    "explore_world_music",
)
_FREE = {"Public Domain": "public domain", "Public domain": "public domain", "CC0-1.0": "CC0-1.0"}
_LEFT_OUT = ("clickgame/sea1", "explore_world_music/italy", "explore_world_music/mexico")
# Files whose names say too little, or the same.
_NAMES = {
    "clickgame/sea2": "sea-floor",
    "clickgame/sea3": "coral-reef",
    "clickgame/sea4": "black-coral",
    "clickgame/sea5": "sea-cave",
    "clickgame/sea6": "basket-star",
    "erase/giraffe": "giraffe-head",
    "explore_monuments/usa/cabrillo": "cabrillo-monument",
    "explore_monuments/usa/navajo": "betatakin-dwellings",
    "explore_world_animals/dragon": "komodo-dragon",
    "explore_world_animals/giraffe": "giraffes",
    "explore_world_music/africa": "bata-drums",
    "explore_world_music/japan": "taiko-drums",
    "explore_world_music/middleeast": "dutar",
}
# scikit-image says in its documentation who made them and that they are free of copyright.
_SKIMAGE = {
    "camera": ("camera.png", "Lav Varshney", "CC0-1.0"),
    "chelsea": ("chelsea.png", "Stefan van der Walt", "CC0-1.0"),
    "coffee": ("coffee.png", "Rachel Michetti", "CC0-1.0"),
    "rocket": ("rocket.jpg", "SpaceX", "public domain"),
}


@dataclass(frozen=True)
class Photograph:
    """A photograph, who made it, and where it comes from."""

    name: str
    image: Image.Image
    author: str
    licence: str
    source: str
    obtained: str


def of_gcompris(folder: Path) -> Iterator[Photograph]:
    """Yield the photographs of GCompris that may be shipped, sorted by game and file."""
    for game in _GAMES:
        (path,) = folder.rglob(f"{game}.rcc")
        files = read_resources(path)
        for readme in sorted(name for name in files if name.endswith("/README")):
            where = readme.removesuffix("README")
            for file, about in sorted(_credits(files[readme].decode())):
                content = files.get(where + file)  # a README may name what is not there
                if about.get("License") not in _FREE or content is None:
                    continue
                if not file.endswith(".webp"):
                    continue
                image = Image.open(io.BytesIO(content))
                place = f"{game}/{file.removesuffix('.webp')}"
                if min(image.size) < SMALLEST or place in _LEFT_OUT:
                    continue
                yield Photograph(
                    name=_NAMES.get(place) or _name(Path(file).stem),
                    image=to_rgb(image),
                    author=about["Copyright"],
                    licence=_FREE[about["License"]],
                    source=about.get("Source", ""),
                    obtained=f"GCompris 3.1, {game}/{file}",
                )


def of_skimage() -> Iterator[Photograph]:
    """Yield the photographs in the wheel of scikit-image."""
    found = find_spec("skimage")
    assert found is not None
    assert found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0], "data")
    for name, (file, author, licence) in _SKIMAGE.items():
        yield Photograph(
            name=name,
            image=to_rgb(Image.open(folder / file)),
            author=author,
            licence=licence,
            source=f"https://scikit-image.org/docs/stable/api/skimage.data.html#skimage.data.{name}",
            obtained=f"scikit-image, data/{file}",
        )


def _credits(readme: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield every file that a README names, with the fields of its paragraph."""
    for paragraph in re.split(r"\n\s*\n", readme):
        about, field = {}, ""
        lines: dict[str, list[str]] = {}
        for line in paragraph.splitlines():
            if match := re.match(r"(Copyright|License|Source|Files|Comments?):\s*(.*)", line):
                field, line = match.groups()
            lines.setdefault(field, []).append(line.strip())
        about = {field: " ".join(text).strip() for field, text in lines.items()}
        for file in lines.get("Files", []):
            if file:
                yield file, about


def _name(stem: str) -> str:
    """Write ``gatewayofIndia`` as ``gateway-of-india``."""
    words = re.sub(r"(?<=[a-z])(des|de|du|of)(?=[A-Z])", r"-\1", stem)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", words).replace("_", "-").lower()


def scaled(image: Image.Image) -> Image.Image:
    """Scale the short side down to ``SHORT_SIDE``; a smaller picture stays as it is."""
    factor = SHORT_SIDE / min(image.size)
    if factor >= 1:
        return image
    width, height = (max(SHORT_SIDE, round(side * factor)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def consensus_of(images: list[Image.Image]) -> list[dict[str, object] | None]:
    """Return for each picture the class that all networks name and their mean probability."""
    networks = [load_model(name) for name in NETWORKS]
    categories = networks[0].categories
    assert categories is not None
    found: list[dict[str, object] | None] = []
    for image in images:
        with torch.inference_mode():
            chances = torch.stack(
                [network.module(network.prepare(image)).softmax(1)[0] for network in networks]
            )
        first, *others = chances.argmax(1).tolist()
        agreed = all(other == first for other in others)
        mean = round(float(chances[:, first].mean()), 4)
        found.append(
            {"class": first, "category": categories[first], "probability": mean} if agreed else None
        )
    return found


def attribution(entries: list[dict[str, object]]) -> str:
    """Say in words where every photograph comes from."""
    lines = [
        "# The bundled photographs",
        "",
        "Each is in the public domain or under CC0 1.0",
        "(https://creativecommons.org/publicdomain/zero/1.0/), so nothing is asked of those who",
        "pass them on. They were scaled to 288 px on the short side and saved as JPEG by",
        "`tools/ship_photographs.py`; GCompris had cropped and sharpened some of them.",
        "",
        "| file | author | licence | source | obtained from |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {e['name']}.jpg | {e['author']} | {e['licence']} | {e['source']} | {e['obtained']} |"
        for e in entries
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the photographs, their index and their attribution."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--gcompris", type=Path, required=True, help="where it was unpacked")
    parser.add_argument("--out", type=Path, default=FOLDER, help="default: the package's own")
    args = parser.parse_args()
    args.out.mkdir(exist_ok=True)
    for old in args.out.glob("*.jpg"):
        old.unlink()
    shipped = sorted([*of_gcompris(args.gcompris), *of_skimage()], key=lambda p: p.name)
    assert len({p.name for p in shipped}) == len(shipped), "two photographs have one name"
    for p in shipped:
        scaled(p.image).save(
            args.out / f"{p.name}.jpg", quality=QUALITY, optimize=True, progressive=True
        )
    # The networks see what is shipped, not what it was made from.
    images = [Image.open(args.out / f"{p.name}.jpg").convert("RGB") for p in shipped]
    entries: list[dict[str, object]] = [
        {
            "name": p.name,
            "author": p.author,
            "licence": p.licence,
            "source": p.source,
            "obtained": p.obtained,
            "consensus": consensus,
        }
        for p, consensus in zip(shipped, consensus_of(images), strict=True)
    ]
    document = {"consensus of": NETWORKS, "photographs": entries}
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (args.out / "index.json").write_text(text + "\n", encoding="utf-8")
    (args.out / "ATTRIBUTION.md").write_text(attribution(entries), encoding="utf-8")
    size = sum(file.stat().st_size for file in args.out.iterdir())
    agreed = sum(entry["consensus"] is not None for entry in entries)
    print(f"{len(shipped)} photographs, {size / 1e6:.2f} MB, {agreed} with a consensus")


if __name__ == "__main__":
    main()
