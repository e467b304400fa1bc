"""The working folder of a run: its lock, the journal of what is finished, and the unfinished files.

It lies beside the output and is named after it, so that the same command finds it again. What it holds
is trusted only as far as it can be checked: the journal may lag behind the files, or be cut off in the
middle of a line, and bytes that it calls finished may never have reached the disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import CheckpointError
from .work import Record

_MISSING = "(none)"


class Workspace:
    """The working folder ``.NAME.masksolve`` of an output; a context manager that holds its lock.

    Parameters
    ----------
    target : Path
        The output file or folder.

    Raises
    ------
    CheckpointError
        If another run holds the lock, or the folder cannot be made.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f".{target.name}.masksolve")
        self.files = self.path / "files"
        self.prices = self.path / "prices"
        self._lock: BinaryIO | None = None
        self._journal: BinaryIO | None = None

    def __enter__(self) -> Workspace:
        try:
            while self._lock is None:
                self.path.mkdir(mode=0o700, exist_ok=True)
                self._lock = _locked(self.path / "lock", self.target)
        except OSError as error:
            if isinstance(error, CheckpointError):
                raise
            raise unwritable(self.target, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if self.path.exists() and not (self.path / "journal").exists():
            self.remove()  # refused before anything was begun
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def begin(self, identity: dict[str, Any]) -> dict[str, Record]:
        """Open the journal, and return what an earlier run with the same identity has finished.

        Raises
        ------
        CheckpointError
            If the earlier run had other settings or inputs; the message says which.
        """
        path = self.path / "journal"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        done: dict[str, Record] = {}
        whole = 0
        try:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                record = json.loads(line)
                if whole == 0:
                    self._compare(record, identity)
                else:
                    done[record.pop("key")] = record
                whole += len(line)
        except ValueError:
            pass  # a line that was being written when the machine stopped
        self._journal = path.open("ab")
        self._journal.truncate(whole)
        if whole == 0:
            self._write(identity)
        self.files.mkdir(exist_ok=True)
        self.prices.mkdir(exist_ok=True)
        return done

    def _compare(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        found = list(differences(before, json.loads(json.dumps(now))))
        if found:
            raise CheckpointError(
                f"OUT '{self.target}' was begun by a run that differs: {'; '.join(found[:4])}. Give the "
                f"same settings to go on, or --restart (resume=False) to discard what it did"
            )

    def record(self, key: str, record: Record) -> None:
        """Write down that a piece is finished."""
        self._write({"key": key, **record})

    def _write(self, record: dict[str, Any]) -> None:
        assert self._journal is not None
        try:
            self._journal.write(json.dumps(record).encode() + b"\n")
            self._journal.flush()
        except OSError as error:
            raise unwritable(self.target, error) from error

    def empty(self) -> None:
        """Remove what an earlier run left, but keep the lock."""
        for name in os.listdir(self.path):
            if name != "lock":
                _remove(self.path / name)

    def remove(self) -> None:
        """Remove the folder; the lock goes last, so that nobody begins in a folder half removed."""
        self.empty()
        (self.path / "lock").unlink(missing_ok=True)
        self.path.rmdir()


@contextlib.contextmanager
def naming_output(target: Path) -> Iterator[None]:
    """Turn errors of the operating system into ones that name the output."""
    try:
        yield
    except CheckpointError:
        raise
    except OSError as error:
        raise unwritable(target, error) from error


def unwritable(target: Path, error: OSError) -> CheckpointError:
    """Make an error that names the output, whichever file of it could not be written."""
    return CheckpointError(f"OUT '{target}' cannot be written: {error.strerror or error}")


def differences(before: Any, now: Any, where: str = "") -> Iterator[str]:
    """Say in words where two JSON values differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in (*before, *(key for key in now if key not in before)):
            inner = f"{where} {key}".strip() if where != "settings" else key
            yield from differences(before.get(key, _MISSING), now.get(key, _MISSING), inner)
    elif before != now:
        if len(f"{before}{now}") > 120:
            yield f"{where} changed"
        else:
            yield f"{where} was {before}, is {now}"


def _locked(path: Path, target: Path) -> BinaryIO | None:
    """Open and lock a file; None if it was removed in between, so that the lock is on nothing.

    The operating system releases such a lock when its process ends, however it ends.
    """
    try:
        stream = path.open("ab+")
    except FileNotFoundError:
        return None
    if not _try_lock(stream):
        stream.seek(0)
        holder = stream.read(32).decode("ascii", "replace").strip()
        stream.close()
        raise CheckpointError(
            f"OUT '{target}' is being written by another run (process {holder or 'unknown'})"
        )
    try:
        if os.fstat(stream.fileno()).st_ino == path.stat().st_ino:
            stream.truncate(0)
            stream.write(f"{os.getpid()}\n".encode())
            stream.flush()
            return stream
    except FileNotFoundError:
        pass
    stream.close()
    return None


def _try_lock(stream: BinaryIO) -> bool:
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        import msvcrt

        try:
            stream.seek(1 << 30)  # a byte that nobody reads
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=False)
    else:
        path.unlink(missing_ok=True)
