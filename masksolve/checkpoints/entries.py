"""What a weight file holds: its tensors by name, number format and place; and their bytes.

Nothing here maps a file into memory. Mapped pages count as memory of the process, and a file that
somebody truncates, or a disk that fills up, would then end the process with a signal instead of an
error that can be reported.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..errors import CheckpointError
from ..remedies import pip_install
from .writing import room

Bits = npt.NDArray[np.unsignedinteger[Any]]
"""The stored bits of floating-point numbers, as unsigned integers of the same width."""

WIDTHS: Mapping[str, int] = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
"""Bytes of each number format that can be pruned, named as safetensors does."""

_NUMPY = {"F64": "float64", "F32": "float32", "F16": "float16"}
_ML_DTYPES = {"BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}


@dataclass(frozen=True)
class Entry:
    """A tensor of a file.

    Attributes
    ----------
    name : str
    dtype : str
        A key of `WIDTHS`, or the file's own name of a number format that cannot be pruned.
    shape : tuple of int
    offset, nbytes : int
        Where its bytes lie in the file. In a zip archive that may be compressed the offset counts
        from the beginning of ``member``.
    member : str or None
        The file inside a zip archive.
    fortran : bool
        Whether the first axis varies fastest.
    swapped : bool
        Whether the bytes of a number are in the other order than the processor's.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int
    member: str | None = None
    fortran: bool = False
    swapped: bool = False

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape whose last axis varies fastest."""
        return self.shape[::-1] if self.fortran else self.shape


def in_order(bits: Bits, entry: Entry) -> Bits:
    """Give stored bits in the processor's order of bytes; a copy if the file has the other one."""
    return bits.byteswap() if entry.swapped else bits


def weights_of(bits: Bits, dtype: str) -> npt.NDArray[Any]:
    """Numbers that stored bits stand for: a view of them, and a copy in float16 of float8.

    Float16 holds every number of both float8 formats, which `masksolve.solve` does not read.

    Parameters
    ----------
    bits : array of unsigned integers, any shape
        In the processor's order of bytes.
    dtype : str
        A key of `WIDTHS`.

    Raises
    ------
    CheckpointError
        If the format is one that NumPy knows only through ml_dtypes, which is missing.

    Examples
    --------
    >>> weights_of(np.array([0x38, 0xB0], np.uint8), "F8_E4M3")
    array([ 1. , -0.5], dtype=float16)
    """
    numbers = _numbers(dtype)
    if numbers.itemsize > 1:
        return bits.view(numbers)
    every = np.arange(256, dtype=np.uint8).view(numbers).astype(np.float16)
    return np.asarray(every[bits])


def magnitudes_of(bits: Bits, dtype: str) -> npt.NDArray[np.floating[Any]]:
    """Magnitudes of stored numbers, in float32 (float64 for float64).

    The sign is cleared in the bits, which is several times faster than converting 16-bit numbers first.

    Parameters
    ----------
    bits : array of unsigned integers, any shape
        In the processor's order of bytes.
    dtype : str
        A key of `WIDTHS`.

    Examples
    --------
    >>> magnitudes_of(np.array([0xBF80, 0x4000], np.uint16), "BF16")
    array([1., 2.], dtype=float32)
    """
    if dtype == "BF16":  # shifting the sign out and back leaves the upper half of a float32
        wide = np.left_shift(bits, np.uint32(17), dtype=np.uint32)
        wide >>= np.uint32(1)
        return wide.view(np.float32)
    weights: npt.NDArray[np.floating[Any]] = np.abs(weights_of(bits, dtype))
    return weights if weights.itemsize > 2 else weights.astype(np.float32)


def nonzero(bits: Bits) -> npt.NDArray[np.bool_]:
    """Whether stored numbers are not zero: a negative weight times a mask's zero is zero with a sign.

    Parameters
    ----------
    bits : array of unsigned integers, any shape
        In the processor's order of bytes.

    Examples
    --------
    >>> nonzero(np.array([0x0000, 0x8000, 0x8001], np.uint16))
    array([False, False,  True])
    """
    return np.asarray(np.left_shift(bits, bits.dtype.type(1)) != 0)


def _numbers(dtype: str) -> np.dtype[Any]:
    if dtype in _NUMPY:
        return np.dtype(_NUMPY[dtype])
    try:
        import ml_dtypes
    except ModuleNotFoundError:
        name = "bfloat16" if dtype == "BF16" else "float8"
        raise CheckpointError(f"{name} tensors need ml_dtypes: {pip_install('cli')}") from None
    numbers: np.dtype[Any] = np.dtype(getattr(ml_dtypes, _ML_DTYPES[dtype]))
    return numbers


def read(
    path: Path, entry: Entry, first: int = 0, count: int | None = None, *, place: int = 0
) -> npt.NDArray[np.uint8]:
    """Bytes ``first`` to ``first + count`` of a tensor, in memory of their own.

    ``place`` says where in a file they will be written, if they will; see `masksolve.checkpoints.writing`.

    Raises
    ------
    CheckpointError
        If the file cannot be read, is shorter than it was, or its check sum is wrong.
    """
    count = entry.nbytes - first if count is None else count
    buffer = room(count, place)
    try:
        if entry.member is None:
            _fill(path, entry.offset + first, buffer)
        else:
            _fill_from_member(path, entry, first, buffer)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"file '{path}': {error.strerror or error}") from error
    except Exception as error:  # zipfile and zlib raise almost anything on damaged archives
        raise CheckpointError(f"file '{path}' must be a whole {path.suffix} file: {error}") from error
    return buffer


def _fill(path: Path, offset: int, buffer: npt.NDArray[np.uint8]) -> None:
    view = buffer.data
    with open(path, "rb", buffering=0) as stream:
        stream.seek(offset)
        while view:
            got = stream.readinto(view)
            if not got:
                raise CheckpointError(f"file '{path}' must be a whole {path.suffix} file; it ends too early")
            view = view[got:]


def _fill_from_member(path: Path, entry: Entry, first: int, buffer: npt.NDArray[np.uint8]) -> None:
    """Read a member to its end, since only that compares its check sum."""
    assert entry.member is not None
    with zipfile.ZipFile(path) as archive, archive.open(entry.member) as member:
        stream = cast(BufferedIOBase, member)
        stream.seek(entry.offset + first)
        if stream.readinto(buffer.data) != len(buffer):
            raise EOFError(f"member {entry.member!r} ends too early")
        while first + len(buffer) == entry.nbytes and stream.read(1):
            raise ValueError(f"member {entry.member!r} goes on after the end of its array")
