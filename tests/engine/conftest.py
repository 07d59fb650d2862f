"""Ways to show rows to a model, all of which are tried."""

import pytest

from captum_spectral._engine import chunk_size, shortcuts, stem


@pytest.fixture(params=["as they lie", "channels_last"])
def formats(request, monkeypatch):
    """Show a model rows behind its stem in each format, whatever is fastest on the day."""
    monkeypatch.setattr(shortcuts, "SMALLEST", 0)
    monkeypatch.setattr(stem, "WORTH", float("inf"))
    monkeypatch.setattr(chunk_size, "LARGEST_GUESS", 4)
    started = chunk_size.Formats.__init__

    def start(self):
        started(self)
        self.verdict, self._again = request.param == "channels_last", float("inf")

    monkeypatch.setattr(chunk_size.Formats, "__init__", start)
    monkeypatch.setattr(chunk_size.AutomaticSize, "took", lambda *_: None)
    return request.param
