"""Writing parts of tensors into files that exist.

Where the system allows it, whole blocks go from memory straight to the disk (``O_DIRECT``). A copy in the
system's page cache would cost more processor time than finding 2:4-T masks, and somebody would have to wait
for it to reach the disk in the end anyway. The rest, and everything on systems and file systems that know no
such writes, goes through the page cache. Both see the same file, so that any mixture of them is right.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

BLOCK = 4096
"""Bytes that a place in memory and one in a file must be a multiple of, for a write that is not cached. Disks
ask for 512 or 4096."""

_AT_ONCE = 1 << 17
"""Bytes that are handed to the page cache at a time, as by ``cp``. Linux caches a larger write in larger
pages, which a virtual machine may first have to ask its host for: writes of four megabytes were ten times
slower."""

_LOCKS = tuple(Lock() for _ in range(64))
"""By file. Linux lets one thread write into a file's cache at a time; others would spin until they may."""

_BINARY = getattr(os, "O_BINARY", 0)
_DIRECT: int = getattr(os, "O_DIRECT", 0)


def room(count: int, place: int) -> npt.NDArray[np.uint8]:
    """Get memory for bytes that will be written at ``place`` in a file, without a copy if that is possible.

    Examples
    --------
    >>> room(3, 4104).ctypes.data % BLOCK
    8
    """
    memory = np.empty(count + BLOCK, np.uint8)
    first = (place - memory.ctypes.data) % BLOCK
    return memory[first : first + count]


def write(path: Path, place: int, buffer: npt.NDArray[np.uint8]) -> None:
    """Write bytes into an existing file.

    Parameters
    ----------
    path : Path
    place : int
        Where in the file, in bytes.
    buffer : array of bytes
        From `room`, if its whole blocks shall bypass the page cache.

    Raises
    ------
    OSError
        As the operating system says; the file name is attached.
    """
    try:
        first, last = -place % BLOCK, len(buffer) - (place + len(buffer)) % BLOCK
        if not _DIRECT or last <= first or (buffer.ctypes.data - place) % BLOCK:
            _write_cached(path, place, buffer.data)
            return
        last = first + _write_direct(path, place + first, buffer.data[first:last])
        _write_cached(path, place, buffer.data[:first])
        _write_cached(path, place + last, buffer.data[last:])
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _write_direct(path: Path, place: int, view: memoryview) -> int:
    """Write whole blocks past the page cache; return how many bytes the system took, 0 if it refused."""
    try:
        descriptor = os.open(path, os.O_WRONLY | _DIRECT)
    except OSError:
        return 0
    try:
        return os.pwrite(descriptor, view, place)
    except OSError:
        return 0  # what cannot be written otherwise either fails once more, with its reason
    finally:
        os.close(descriptor)


def _write_cached(path: Path, place: int, view: memoryview) -> None:
    if not view:
        return
    descriptor = os.open(path, os.O_WRONLY | _BINARY)
    try:
        os.lseek(descriptor, place, os.SEEK_SET)
        count = len(view)
        with _LOCKS[hash(path) % len(_LOCKS)]:
            while view:
                view = view[os.write(descriptor, view[:_AT_ONCE]) :]
        if count > BLOCK and hasattr(os, "posix_fadvise"):  # begins to bring them to the disk
            os.posix_fadvise(descriptor, place, count, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
