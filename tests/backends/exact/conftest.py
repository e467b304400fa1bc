"""Small chunks for the tests of the compiled engine."""

import pytest

from masksolve.backends import exact


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    """Many chunks in a small array, so that threads, deadlines and seams between chunks are tried."""
    monkeypatch.delenv(exact.VARIABLE, raising=False)
    monkeypatch.setattr(exact.Exact, "chunk_entries", 1 << 10)
