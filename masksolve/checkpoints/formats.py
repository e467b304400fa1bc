"""The formats of weight files: which tensors a file holds and how the pruned file is laid out.

Each format has one reader of what a file holds. Only headers are read; the bytes of tensors are read
piece by piece later, by whoever prunes or checks them.
"""

from __future__ import annotations

import itertools
import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import CheckpointError
from ..remedies import pip_install
from .entries import WIDTHS, Entry
from .writing import BLOCK

_NUMPY_NAMES = {2: "F16", 4: "F32", 8: "F64"}
_LONGEST_HEADER = 100_000_000  # the limit of the safetensors package


@dataclass(frozen=True)
class WeightFile:
    """A weight file and the layout of the file that pruning makes of it.

    Attributes
    ----------
    path : Path
    suffix : str
        Of the file that pruning makes: torch's files become ``.safetensors``.
    entries : tuple of Entry
        In the order of their bytes.
    head : bytes
        What the new file begins with, before its tensors.
    places : tuple of int
        Where the bytes of each entry begin in the new file. For ``.npz`` that is an intermediate
        file without headers, out of which the archive is packed when it is complete.
    size : int
        Bytes of the new (for ``.npz``, the intermediate) file.
    """

    path: Path
    suffix: str
    entries: tuple[Entry, ...]
    head: bytes
    places: tuple[int, ...]
    size: int


def open_weights(path: Path) -> WeightFile:
    """Read what a weight file holds.

    Raises
    ------
    CheckpointError
        If the suffix is unknown, or the content is damaged, pickled or not what the suffix says.
    """
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise CheckpointError(
            f"file '{path}' must end in one of {', '.join(_READERS)}; got suffix {path.suffix!r}"
        )
    if path.exists() and not path.is_file():
        raise CheckpointError(f"file '{path}' must be a regular file")
    try:
        return _READERS[suffix](path)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"file '{path}': {error.strerror or error}") from error
    except Exception as error:  # the parsers raise almost anything on damaged files
        raise CheckpointError(
            f"file '{path}' must be a whole {suffix} file without pickled objects: {error}"
        ) from error


def output_suffix(path: Path) -> str:
    """Suffix of the file that pruning makes of a file."""
    suffix = path.suffix.lower()
    return ".safetensors" if suffix in TORCH_SUFFIXES else suffix


def _npy(path: Path) -> WeightFile:
    with path.open("rb") as stream:
        shape, fortran, dtype = _npy_header(stream)
        start = stream.tell()
        entry = _numpy_entry(path.stem, shape, fortran, dtype, start)
        size = stream.seek(0, 2)
        if size != start + entry.nbytes:
            raise ValueError(
                "it goes on after the end of its array"
                if size > start + entry.nbytes
                else "it ends too early"
            )
        stream.seek(0)
        head = stream.read(start)
    return WeightFile(path, ".npy", (entry,), head, (start,), size)


def _npz(path: Path) -> WeightFile:
    entries = []
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                raise ValueError(f"member {member.filename!r} is not an array")
            with archive.open(member) as stream:
                shape, fortran, dtype = _npy_header(stream)
                start = stream.tell()
            name = member.filename.removesuffix(".npy")
            entry = _numpy_entry(name, shape, fortran, dtype, start, member=member.filename)
            if member.file_size != start + entry.nbytes:
                after = member.file_size > start + entry.nbytes
                ends = "goes on after the end of its array" if after else "ends too early"
                raise ValueError(f"member {member.filename!r} {ends}")
            entries.append(entry)
    places = list(itertools.accumulate((entry.nbytes for entry in entries), initial=0))
    return WeightFile(path, ".npz", tuple(entries), b"", tuple(places[:-1]), places[-1])


def _npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"version {version[0]}.{version[1]} of the format is for arrays of records")
    if dtype.hasobject:
        raise ValueError("it holds pickled objects")
    return shape, fortran, dtype


def _numpy_entry(
    name: str,
    shape: tuple[int, ...],
    fortran: bool,
    dtype: np.dtype[Any],
    start: int,
    *,
    member: str | None = None,
) -> Entry:
    floating = dtype.kind == "f" and dtype.itemsize in _NUMPY_NAMES
    kind = _NUMPY_NAMES[dtype.itemsize] if floating else str(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    return Entry(name, kind, shape, start, nbytes, member, fortran and len(shape) > 1, not dtype.isnative)


def pack_npz(source: Path, entries: Sequence[Entry], tensors: Path, target: Path) -> None:
    """Write the archive ``target`` like ``source``, with the bytes of the tensors from another file."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new, tensors.open("rb") as data:
        for member, entry in zip(old.infolist(), entries, strict=True):
            copy = zipfile.ZipInfo(member.filename, member.date_time)
            copy.compress_type, copy.external_attr = member.compress_type, member.external_attr
            with old.open(member) as stream:
                header = stream.read(entry.offset)
            with new.open(copy, "w", force_zip64=True) as sink:
                sink.write(header)
                left = entry.nbytes
                while left:
                    block = data.read(min(left, 1 << 22))
                    sink.write(block)
                    left -= len(block)


def _safetensors(path: Path) -> WeightFile:
    """Read the header; the package's own reader judges the file.

    Its arrays are not used because they are copies of whole tensors, and because not every release
    of it knows bfloat16 and float8 in NumPy.
    """
    try:
        import safetensors
    except ModuleNotFoundError:
        raise CheckpointError(f"file '{path}' needs safetensors: {pip_install('cli')}") from None
    if path.stat().st_size == 0:
        raise ValueError("it is empty")
    try:
        with safetensors.safe_open(path, framework="np") as judge:
            names = set(judge.keys())
    except safetensors.SafetensorError as error:
        raise ValueError(error) from error
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        stream.seek(0)
        head = stream.read(8 + min(length, _LONGEST_HEADER))
    header = json.loads(head[8:])
    header.pop("__metadata__", None)
    if set(header) != names:
        raise ValueError("its header names a tensor twice")
    entries = [
        Entry(name, item["dtype"], tuple(item["shape"]), len(head) + first, last - first)
        for name, item in header.items()
        for first, last in [item["data_offsets"]]
    ]
    entries.sort(key=lambda entry: (entry.offset, entry.nbytes))
    padded = _in_whole_blocks(head[8:])
    more = len(padded) - len(head)
    places = tuple(entry.offset + more for entry in entries)
    return WeightFile(path, ".safetensors", tuple(entries), padded, places, path.stat().st_size + more)


def _torch(path: Path) -> WeightFile:
    from .torch_files import entries_of

    entries = entries_of(path)
    offsets = list(itertools.accumulate((entry.nbytes for entry in entries), initial=0))
    head = safetensors_head(entries, {"format": "pt"})
    places = tuple(len(head) + first for first in offsets[:-1])
    return WeightFile(path, ".safetensors", tuple(entries), head, places, len(head) + offsets[-1])


def safetensors_head(entries: Sequence[Entry], metadata: Mapping[str, str]) -> bytes:
    """Make the beginning of a safetensors file whose tensors follow each other in this order."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    first = 0
    for entry in entries:
        place = [first, first + entry.nbytes]
        header[entry.name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": place}
        first += entry.nbytes
    return _in_whole_blocks(json.dumps(header).encode())


def _in_whole_blocks(header: bytes) -> bytes:
    """Precede a header with its length, and pad it, so that tensors begin with a block of the disk.

    The length of most tensors is a multiple of a block, so that all of them lie in whole ones.
    """
    header += b" " * (-(8 + len(header)) % BLOCK)
    return len(header).to_bytes(8, "little") + header


def prunable(entry: Entry) -> bool:
    """Whether the numbers of a tensor are in a format that can be pruned."""
    return entry.dtype in WIDTHS


TORCH_SUFFIXES = (".pt", ".pth", ".bin")

_READERS: dict[str, Callable[[Path], WeightFile]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".safetensors": _safetensors,
    **dict.fromkeys(TORCH_SUFFIXES, _torch),
}
SUFFIXES = tuple(_READERS)
