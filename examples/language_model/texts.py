"""English prose from Debian's documentation packages: one part to calibrate with, others to test on."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

HANDBOOK = "usr/share/doc/debian-handbook/html/en-US"
PYTHON = "usr/share/doc/python3.11/html"
PACKAGES = {HANDBOOK: "debian-handbook", PYTHON: "python3.11-doc"}
_LEAST_WORDS = 12
_ASIDE = ("pre", "script", "style", "nav")


class MissingTextsError(Exception):
    """A package with texts is not installed; the message names the command."""


class _Paragraphs(HTMLParser):
    """Text of the paragraphs of a page, without code blocks and navigation."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._prose: list[bool] = []
        self._aside = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("p", "div"):
            # DocBook's pages have paragraphs as divisions of this class.
            prose = tag == "p" or ("class", "para") in attrs
            self._prose.append(prose)
            self.found += [""] * prose
        self._aside += tag in _ASIDE

    def handle_endtag(self, tag: str) -> None:
        if tag in ("p", "div") and self._prose:
            self._prose.pop()
        self._aside -= tag in _ASIDE and self._aside > 0

    def handle_data(self, data: str) -> None:
        if self._prose and self._prose[-1] and not self._aside:
            self.found[-1] += data


def paragraphs(folder: Path) -> list[str]:
    """Paragraphs of prose from all pages under a folder, in the order of their paths."""
    found: dict[str, None] = {}
    for page in sorted(folder.rglob("*.html")):
        if page.name.startswith("genindex"):
            continue
        parser = _Paragraphs()
        parser.feed(page.read_text(errors="replace"))
        for each in parser.found:
            text = " ".join(each.split())
            if len(text.split()) >= _LEAST_WORDS and text[-1] in ".!?":
                found.setdefault(text)
    return list(found)


def corpora(root: Path) -> dict[str, str]:
    """Texts by name: the first part of the handbook, its last fifth, and Python's documentation.

    Raises
    ------
    MissingTextsError
        If a package is not under ``root``.
    """
    for folder, package in PACKAGES.items():
        if not (root / folder).is_dir():
            raise MissingTextsError(
                f"texts: install with: apt-get install {package}; or apt-get download {package}, "
                f"dpkg -x {package}_*.deb FOLDER, and --texts FOLDER"
            )
    handbook = paragraphs(root / HANDBOOK)
    cut = len(handbook) * 4 // 5
    python = [text for part in ("tutorial", "howto", "faq") for text in paragraphs(root / PYTHON / part)]
    return {
        "calibration": "\n\n".join(handbook[:cut]),
        "handbook": "\n\n".join(handbook[cut:]),
        "python": "\n\n".join(python),
    }
