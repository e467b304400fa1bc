"""A folder from which pruning goes on after an interruption: one file for every layer."""

from __future__ import annotations

import json
import re
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict

import torch

from ....whole_files import write_text, written_whole

_FINGERPRINT = "fingerprint.json"


class LayerState(TypedDict):
    """What a layer is to become: tensors by their names in the model, its mask, a row of the report."""

    values: dict[str, torch.Tensor]
    mask: torch.Tensor
    record: dict[str, Any]


class Checkpoint:
    """Layers that are done, on disk; each is written once and read once.

    Parameters
    ----------
    path : path
        Of the folder, which is made if it is not there.
    fingerprint : dict of str
        What the layers depend on; a folder with another one is refused.

    Raises
    ------
    ValueError
        If the path is something else, or belongs to another model, other data or arguments.
    """

    def __init__(self, path: str | PathLike[str], fingerprint: dict[str, str]) -> None:
        self._folder = Path(path)
        # An empty folder is as good as none.
        if self._folder.exists() and not (self._folder.is_dir() and not any(self._folder.iterdir())):
            self._check(fingerprint)
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        write_text(self._folder / _FINGERPRINT, json.dumps(fingerprint, indent=1))

    def read(self, number: int, name: str) -> LayerState | None:
        """Give a layer that is done; None if it is not."""
        file = self._file(number, name)
        if not file.exists():
            return None
        try:
            state: LayerState = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ValueError(f"checkpoint file '{file}' cannot be read; delete it") from error
        return state

    def write(self, number: int, name: str, layer: LayerState) -> None:
        """Write a layer, in one step, so that no file is ever half written."""
        with written_whole(self._file(number, name)) as stream:
            torch.save(layer, stream)

    def _file(self, number: int, name: str) -> Path:
        return self._folder / f"{number:05}-{re.sub(r'[^A-Za-z0-9_.]', '_', name)}.pt"

    def _check(self, fingerprint: dict[str, str]) -> None:
        try:
            found = json.loads((self._folder / _FINGERPRINT).read_text())
            found = {str(key): str(value) for key, value in found.items()}
        except (OSError, ValueError, AttributeError) as error:
            raise ValueError(
                f"checkpoint '{self._folder}' is not a folder that adaprune wrote; delete it or name another"
            ) from error
        keys = found.keys() | fingerprint.keys()
        differing = sorted(key for key in keys if found.get(key) != fingerprint.get(key))
        if differing:
            raise ValueError(
                f"checkpoint '{self._folder}' belongs to a run that differs in {differing}; repeat that run "
                f"exactly, delete the folder or name another"
            )
