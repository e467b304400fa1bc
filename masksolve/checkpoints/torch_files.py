"""Tensors in files of ``torch.save``, found without running anything that a pickle asks for.

torch itself reads the names and shapes (``weights_only=True``, mapped, so that no weight is copied). The
bytes are then read from the file like those of any other format: such a file is an uncompressed zip
archive, and where torch has mapped it, addresses differ from places in the file by one constant.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..remedies import pip_install
from .entries import Entry

_NAMES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
_STORAGE = re.compile(r"[^/]+/data/\d+")
_LOCAL_HEADER = 30


def entries_of(path: Path) -> list[Entry]:
    """List the tensors of a state dict, in the order of their names in it.

    Raises
    ------
    CheckpointError
        If torch is not installed, the file is of the kind that torch wrote before 1.6, holds
        anything but tensors by name, or a tensor is not contiguous.
    """
    state = _load(path)
    base = _address_of_the_file(path, state)
    return [_entry(path, name, tensor, base) for name, tensor in state.items()]


def _load(path: Path) -> Mapping[str, Any]:
    try:
        import torch
    except ModuleNotFoundError:
        raise CheckpointError(
            f"file '{path}' needs torch: {pip_install('torch')}; or convert it to .safetensors"
        ) from None
    with path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            raise CheckpointError(
                f"file '{path}' must be a zip file as torch.save writes them; load and save it once more "
                f"with torch, or convert it to .safetensors"
            )
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"file '{path}' must hold tensors by name, got {type(state).__name__}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(
                f"file '{path}' must hold nothing but tensors by name (model.state_dict()), got "
                f"{type(value).__name__} for {name!r}; save the state dict alone"
            )
    return state


def _address_of_the_file(path: Path, state: Mapping[str, Any]) -> int:
    """Where torch mapped the file: one difference fits every storage, or the file is not understood."""
    storages: dict[int, int] = {}
    for tensor in state.values():
        storage = tensor.untyped_storage()
        if storage.nbytes():
            storages[storage.data_ptr()] = storage.nbytes()
    places: dict[int, int] = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as stream:
        for member in archive.infolist():
            if _STORAGE.fullmatch(member.filename) and member.file_size:
                stream.seek(member.header_offset)
                local = stream.read(_LOCAL_HEADER)
                names = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
                places[member.header_offset + _LOCAL_HEADER + names] = member.file_size
    if not storages:
        return 0
    base = min(storages) - min(places, default=0)
    if {address - base: size for address, size in storages.items()} != places:
        raise CheckpointError(f"file '{path}' is not laid out as torch.save does; convert it to .safetensors")
    return base


def _entry(path: Path, name: str, tensor: Any, base: int) -> Entry:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in _NAMES or str(tensor.layout) != "torch.strided":
        raise CheckpointError(
            f"file '{path}' must hold tensors that safetensors can hold; '{name}' is {dtype}, {tensor.layout}"
        )
    if not tensor.is_contiguous():
        raise CheckpointError(f"file '{path}' must hold contiguous tensors; '{name}' is a view, save a copy")
    nbytes = tensor.numel() * tensor.element_size()
    offset = tensor.untyped_storage().data_ptr() + tensor.storage_offset() * tensor.element_size() - base
    return Entry(name, _NAMES[dtype], tuple(tensor.shape), offset if nbytes else 0, nbytes)
