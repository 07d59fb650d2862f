"""The README as an index of packages shows it: there, no file of the repository lies beside it.

Everything else stands in ``pyproject.toml``.
"""

import re
from pathlib import Path

from setuptools import setup

# An image or a link in Markdown, to something that is neither an address nor a place on the page.
_IMAGE = re.compile(r"!\[[^\]]*\]\((?!https?:)[^)]+\)\n*")
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)\s]+)\)")


def for_an_index(text: str) -> str:
    """Leave out images of the repository, and name its files in place of links to them."""

    def named(link: "re.Match[str]") -> str:
        label, path = link.groups()
        return f"`{path}`" if label == path else f"{label} (`{path}`)"

    return _LINK.sub(named, _IMAGE.sub("", text))


if __name__ == "__main__":
    setup(
        long_description=for_an_index(Path("README.md").read_text(encoding="utf-8")),
        long_description_content_type="text/markdown",
    )
