"""Each message that the page on troubles explains is one that the package gives."""

import ast
import re
from pathlib import Path

import pytest

import captum_spectral

PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
PACKAGE = Path(captum_spectral.__file__).parent
# A heading of the page: a message, with an ellipsis for what depends on the call.
MESSAGES = re.findall(r"^### `(.+)`$", PAGE, re.M)


def texts():
    """All strings of the package, with an ellipsis for each value in them."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "…"
                    for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


@pytest.fixture(scope="module")
def sources():
    return list(texts())


@pytest.mark.parametrize("message", MESSAGES)
def test_the_package_gives_this_message(message, sources):
    assert any(message in text for text in sources)


def test_the_page_has_messages_and_each_is_answered():
    assert len(MESSAGES) > 20
    assert len(set(MESSAGES)) == len(MESSAGES)
    answers = re.split(r"^### .+$", PAGE, flags=re.M)[1:]
    assert all(len(answer.split()) > 12 for answer in answers)


def test_a_message_that_is_not_given_is_seen(sources):
    assert not any("the moon must be full, got …" in text for text in sources)
