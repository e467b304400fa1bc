"""Weight files: their tensors one at a time, and rewriting them without ever leaving half a file.

A reader yields tensors. Given ``output`` it also writes there the same file, with each array as
the consumer left it, so that whatever is not pruned (other tensors, metadata, order) comes
through unchanged.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class FileError(Exception):
    """A file that cannot be read or written; the message names it and says why, in one line."""


class Tensor(NamedTuple):
    """A tensor of a file; ``array`` is None if its dtype is not one that can be pruned."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    array: npt.NDArray[Any] | None


_Tensors = Iterator[Tensor]
_SAFETENSORS_FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


def tensors(path: Path, output: Path | None = None) -> Iterator[Tensor]:
    """Yield the tensors of a ``.npy``, ``.npz`` or ``.safetensors`` file.

    Parameters
    ----------
    path : Path
        Only ever read.
    output : Path or None
        Receives the rewritten file; the arrays are then writable, and a change counts if it is
        made before the next tensor is asked for.

    Raises
    ------
    FileError
        If the suffix is unknown, or the content is damaged, pickled or not what the suffix says.
    """
    suffix = _suffix(path)
    if path.exists() and not path.is_file():
        raise FileError(f"file '{path}' must be a regular file")
    try:
        yield from _READERS[suffix](path, output)
    except FileError:
        raise
    except OSError as error:
        what = f"'{error.filename}'" if error.filename else f"'{path}' must be a whole {suffix} file"
        raise FileError(f"file {what}: {error.strerror or error}") from error
    except Exception as error:  # the parsers raise almost anything on damaged files
        raise FileError(
            f"file '{path}' must be a whole {suffix} file without pickled objects: {error}"
        ) from error


def size(path: Path) -> int:
    """Count roughly the bytes that `tensors` will yield, for a progress bar; 0 if it cannot be told."""
    try:
        if path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as archive:
                return sum(member.file_size for member in archive.infolist())
        return path.stat().st_size
    except Exception:  # `tensors` will say what is wrong
        return 0


def check_target(source: Path, target: Path, *, force: bool) -> Path:
    """Say where to write, symbolic links followed.

    Raises
    ------
    FileError
        If the suffixes differ, ``target`` is something other than a writable regular file, or it
        is ``source`` itself and ``force`` is false.
    """
    if target.suffix.lower() != _suffix(source):
        raise FileError(f"OUT '{target}' must end in {source.suffix} as IN does, got {target.suffix!r}")
    target = Path(os.path.realpath(target))
    if not target.exists():
        return target
    if not target.is_file():
        raise FileError(f"OUT '{target}' must be a regular file or not exist yet")
    if not os.access(target, os.W_OK):
        raise FileError(f"OUT '{target}' must be writable; it is read-only")
    if source.exists() and target.samefile(source) and not force:
        raise FileError(f"OUT '{target}' is IN itself; choose another file, or add --force to replace IN")
    return target


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield a temporary file beside ``target`` that becomes ``target``, whole and on disk, on success.

    Raises
    ------
    FileError
        If it cannot be created, written or renamed. The temporary file never outlives the block.
    """
    temporary = target.with_name(f".masksolve-{secrets.token_hex(4)}.tmp")
    try:
        temporary.open("xb").close()
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise FileError(f"file '{path}' must end in one of {', '.join(_READERS)}; got suffix {path.suffix!r}")
    return suffix


def _unwritable(target: Path, error: OSError) -> FileError:
    return FileError(f"OUT '{target}' cannot be written: {error.strerror or error}")


def _npy(path: Path, output: Path | None) -> _Tensors:
    # Mapped read-only first: only that mode refuses a file that is too short.
    array = np.lib.format.open_memmap(path, mode="r")
    if path.stat().st_size != array.offset + array.nbytes:
        raise ValueError("it goes on after the end of its array")
    if output is not None:
        shutil.copyfile(path, output)
        if array.size:  # NumPy grows a file when it maps an empty array for writing
            array = np.lib.format.open_memmap(output, mode="r+")
    yield _tensor(path.stem, np.asarray(array))
    if array.flags.writeable:
        array.flush()


def _npz(path: Path, output: Path | None) -> _Tensors:
    with contextlib.ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(path))
        written = None if output is None else stack.enter_context(zipfile.ZipFile(output, "w"))
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                raise ValueError(f"member {member.filename!r} is not an array")
            with archive.open(member) as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
                if stream.read(1):  # reading to the end also checks the sum
                    raise ValueError(f"member {member.filename!r} goes on after the end of its array")
            yield _tensor(member.filename.removesuffix(".npy"), array)
            if written is not None:
                copy = zipfile.ZipInfo(member.filename, member.date_time)
                copy.compress_type, copy.external_attr = member.compress_type, member.external_attr
                with written.open(copy, "w", force_zip64=True) as sink:
                    np.lib.format.write_array(sink, array, allow_pickle=False)


def _safetensors(path: Path, output: Path | None) -> _Tensors:
    header, start = _safetensors_header(path)
    if output is not None:
        shutil.copyfile(path, output)
    data = np.memmap(output or path, np.uint8, mode="r" if output is None else "r+")
    for name, entry in header.items():
        shape = tuple(entry["shape"])
        dtype = _safetensors_dtype(entry["dtype"])
        first, last = entry["data_offsets"]
        raw = np.asarray(data[start + first : start + last])
        array = None if dtype is None else raw.view(dtype).reshape(shape)
        yield Tensor(name, shape, entry["dtype"], array)
    if output is not None:
        data.flush()


def _safetensors_header(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """Entries of the header in the order of their data, and where the data begins.

    The package's own reader judges the file; its arrays are not used because they are copies,
    and because not every release of it knows bfloat16 in NumPy.
    """
    try:
        import safetensors
    except ModuleNotFoundError:
        raise FileError(f"file '{path}' needs safetensors: pip install \"masksolve[cli]\"") from None
    if path.stat().st_size == 0:
        raise ValueError("it is empty")
    try:
        with safetensors.safe_open(path, framework="np"):
            pass
    except safetensors.SafetensorError as error:
        raise ValueError(error) from error
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    header.pop("__metadata__", None)
    return dict(sorted(header.items(), key=lambda item: item[1]["data_offsets"])), 8 + length


def _safetensors_dtype(name: str) -> np.dtype[Any] | None:
    if name != "BF16":
        return np.dtype(_SAFETENSORS_FLOATS[name]) if name in _SAFETENSORS_FLOATS else None
    try:
        import ml_dtypes
    except ModuleNotFoundError:
        raise FileError('bfloat16 tensors need ml_dtypes: pip install "masksolve[cli]"') from None
    bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return bfloat16


def _tensor(name: str, array: npt.NDArray[Any]) -> Tensor:
    prunable = array.dtype.kind == "f" and array.dtype.itemsize <= 8
    return Tensor(name, array.shape, str(array.dtype), array if prunable else None)


_READERS: dict[str, Callable[[Path, Path | None], _Tensors]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".safetensors": _safetensors,
}
