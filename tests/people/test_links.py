"""The check of the built site finds what it is for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "check_links.py"
GOOD = '<title>{}</title><h1 id="top">x</h1><a href="b.html#top">b</a><a href="https://example.org/">out</a>'


def check(folder: Path) -> tuple[int, str]:
    """Exit status and output."""
    done = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("", "every link leads somewhere"),
        ('<a href="c.html">c</a>', "c.html leads to no file"),
        ('<a href="b.html#masksolve.types.Prices">c</a>', "b.html#masksolve.types.Prices leads to no anchor"),
        ('<a href="#bottom">c</a>', "#bottom leads to no anchor"),
        ('<img src="figure.png">', "figure.png leads to no file"),
        ('<a href="http://example.org/">c</a>', "http://example.org/ is not https"),
    ],
)
def test_faults_are_named(more: str, says: str, tmp_path: Path) -> None:
    tmp_path.joinpath("a.html").write_text(GOOD.format("a") + more)
    tmp_path.joinpath("b.html").write_text(GOOD.format("b") + "<svg><title>a</title></svg>")
    status, said = check(tmp_path)
    assert says in said
    assert status == bool(more)


def test_titles_must_differ(tmp_path: Path) -> None:
    for name in "ab":
        tmp_path.joinpath(f"{name}.html").write_text(GOOD.format("same"))
    assert check(tmp_path) == (1, "2 pages are called 'same'\n")
