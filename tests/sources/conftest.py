"""Folders of images, for all tests of this room."""

import pytest
from PIL import Image


@pytest.fixture
def tree(tmp_path):
    """``tree("cat/1.png", "dog/")`` writes images, and folders, and returns where."""
    root = tmp_path / "data"

    def write(*paths):
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if path.endswith("/"):
                (root / path).mkdir(parents=True, exist_ok=True)
            elif path.endswith((".txt", "README")):
                (root / path).write_text("words")
            else:
                Image.new("L", (4, 3), 50).save(root / path, format="PNG")
        return root

    return write
