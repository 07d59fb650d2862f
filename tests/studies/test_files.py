"""Files of results: whole, where a link leads, and into pipes."""

import os
import threading
from pathlib import Path

import pytest

from captum_spectral.studies.files import check_file, write


def test_a_link_goes_on_to_lead_to_the_file(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "file")
    for content in (b"first", b"second"):
        check_file(tmp_path / "link")
        write(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "there" / "file").read_bytes() == content
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "link", "there"]


def test_a_pipe_gets_the_content(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    check_file(pipe)
    write(pipe, b"content")
    reader.join(10)
    assert read == [b"content"]
    assert not pipe.is_file()


def test_a_device_stays_one():
    check_file(Path(os.devnull))
    write(Path(os.devnull), b"content")
    assert not Path(os.devnull).is_file()


def test_a_link_to_nowhere_is_refused_before(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "missing" / "file")
    with pytest.raises(NotADirectoryError, match="missing: it does not exist"):
        check_file(tmp_path / "link")
