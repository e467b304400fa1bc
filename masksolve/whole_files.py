"""Files that appear whole or not at all: written beside the old one, then given its name."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def written_whole(path: str | os.PathLike[str], beside: str | None = None) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of ``path`` when it is complete; otherwise nothing changes.

    A symbolic link keeps its place, and the file that it names is replaced; permissions stay those of the old
    file. What is no regular file, such as a pipe, ``/dev/null`` or ``/dev/stdout``, is written to as it is.

    Parameters
    ----------
    path : str or path
    beside : str, optional
        Name of the file meanwhile, in the same folder. One that stays the same from run to run is written
        over by the next one if a run is killed.

    Raises
    ------
    OSError
        If it cannot be written; names ``path``.
    """
    stream = _opened_as_it_is(path)
    if stream is not None:
        with stream:
            yield stream
        return
    target = Path(os.path.realpath(path))
    temporary = target.with_name(beside or f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            if target.exists():
                target.open("ab").close()  # one that is read-only is not replaced, either
                shutil.copymode(target, temporary)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except OSError as error:
        if error.filename == str(temporary):
            error.filename, error.filename2 = os.fspath(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text in UTF-8, as `written_whole` does."""
    with written_whole(path) as stream:
        stream.write(text.encode())


def _opened_as_it_is(path: str | os.PathLike[str]) -> BinaryIO | None:
    """Open what must not be replaced: no regular file, or the one that this process prints into."""
    try:
        found = os.stat(path)
    except OSError:
        return None  # it does not exist yet; what else is wrong shows when the new file is made
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # a program without a terminal may have closed them
            if os.path.samestat(found, os.fstat(descriptor)):
                return os.fdopen(os.dup(descriptor), "wb")
    return None if os.path.isfile(path) else open(path, "wb")
