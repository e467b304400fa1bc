"""A file from which pruning goes on after an interruption."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict

import torch


class LayerState(TypedDict):
    """What a layer is to become: tensors by their names in the model, its mask, a row of the report."""

    values: dict[str, torch.Tensor]
    mask: torch.Tensor
    record: dict[str, Any]


class Checkpoint:
    """Layers that are done, on disk.

    Parameters
    ----------
    path : path
    fingerprint : dict of str
        What the layers depend on; a file with another one is refused.
    """

    def __init__(self, path: str | PathLike[str], fingerprint: dict[str, str]) -> None:
        self._path = Path(path)
        self._fingerprint = fingerprint

    def read(self) -> dict[str, LayerState]:
        """Layers that are done; none if there is no file.

        Raises
        ------
        ValueError
            If the file is something else, or belongs to another model, other data or arguments.
        """
        if not self._path.exists():
            return {}
        try:
            content = torch.load(self._path, map_location="cpu", weights_only=True)
            fingerprint, layers = content["fingerprint"], content["layers"]
        except Exception as error:
            raise ValueError(
                f"checkpoint '{self._path}' is not one that adaprune wrote; delete it or name another file"
            ) from error
        keys = fingerprint.keys() | self._fingerprint.keys()
        differing = sorted(key for key in keys if fingerprint.get(key) != self._fingerprint.get(key))
        if differing:
            raise ValueError(
                f"checkpoint '{self._path}' belongs to a run that differs in {differing}; repeat that run "
                f"exactly, delete the file or name another"
            )
        done: dict[str, LayerState] = layers
        return done

    def write(self, layers: dict[str, LayerState]) -> None:
        """Replace the file in one step, so that it is never half written."""
        beside = self._path.with_name(self._path.name + ".part")
        torch.save({"fingerprint": self._fingerprint, "layers": layers}, beside)
        os.replace(beside, self._path)
