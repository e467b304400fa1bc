"""Rows of results in a JSON file: written as they come, and not measured again when they are there."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .digit_study import Row as DigitRow
from .sentence_study import Row as SentenceRow

KINDS: dict[str, type[SentenceRow] | type[DigitRow]] = {
    "minilm": SentenceRow,
    "resnet": DigitRow,
    "convert": DigitRow,
}


class Record:
    """What has been measured under some settings.

    Parameters
    ----------
    settings : dict
        Everything that decides the figures, such as numbers of sentences; must be JSON.
    file : Path, optional
        Goes on from it if it is there.

    Raises
    ------
    ValueError
        If the file holds figures for other settings.
    """

    def __init__(self, settings: dict[str, Any], file: Path | None = None) -> None:
        self.settings, self.file = json.loads(json.dumps(settings)), file
        self.rows: dict[str, list[Any]] = {study: [] for study in KINDS}
        if file is None or not file.exists():
            return
        found = json.loads(file.read_text())
        if found["settings"] != self.settings:
            raise ValueError(
                f"{file} holds figures for other settings, {found['settings']}, not {self.settings}; "
                f"give another file, or delete it"
            )
        for study, kind in KINDS.items():
            self.rows[study] = [kind(**row) for row in found[study]]

    def add(self, study: str, rows: Sequence[SentenceRow | DigitRow]) -> None:
        """Append rows, and write all of them down."""
        self.rows[study] += rows
        if self.file is not None:
            figures = {name: [asdict(row) for row in mine] for name, mine in self.rows.items()}
            self.file.write_text(json.dumps({"settings": self.settings} | figures, indent=1))


def versions() -> str:
    """What computed the figures."""
    names = ("masksolve", "numpy", "torch")
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return f"{platform.machine()}, Python {platform.python_version()}, {found}; one thread"
