"""Where the pruned checkpoint goes: what may be written there, and putting it there in one step."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .folder import MANIFEST, Checkpoint
from .formats import output_suffix, pack_npz
from .journal import Workspace, unwritable
from .report import Report


def check_target(checkpoint: Checkpoint, target: Path, *, force: bool) -> Path:
    """Say where to write, symbolic links followed.

    Raises
    ------
    CheckpointError
        If ``target`` is of another kind than the source, is something that must not be replaced, or
        is the source itself and ``force`` is false.
    """
    return (_check_folder if checkpoint.is_folder else _check_file)(checkpoint.path, target, force)


def _check_file(source: Path, target: Path, force: bool) -> Path:
    suffix = output_suffix(source)
    if target.suffix.lower() != suffix:
        why = "as IN does" if suffix == source.suffix.lower() else f"since torch's files become {suffix}"
        raise CheckpointError(f"OUT '{target}' must end in {suffix} {why}, got {target.suffix!r}")
    target = Path(os.path.realpath(target))
    if not target.exists():
        return target
    if not target.is_file():
        raise CheckpointError(f"OUT '{target}' must be a regular file or not exist yet")
    if not os.access(target, os.W_OK):
        raise CheckpointError(f"OUT '{target}' must be writable; it is read-only")
    if target.samefile(source) and not force:
        raise CheckpointError(
            f"OUT '{target}' is IN itself; choose another file, or add --force to replace IN"
        )
    return target


def _check_folder(source: Path, target: Path, force: bool) -> Path:
    target, real = Path(os.path.realpath(target)), Path(os.path.realpath(source))
    if target == real:
        if not force:
            raise CheckpointError(
                f"OUT '{target}' is IN itself; choose another folder, or add --force to replace IN"
            )
        return target
    if target.is_relative_to(real) or real.is_relative_to(target):
        raise CheckpointError(f"OUT '{target}' and IN '{source}' must not lie in each other")
    if not target.exists():
        return target
    if not target.is_dir():
        raise CheckpointError(f"OUT '{target}' must be a folder or not exist yet, since IN is a folder")
    if any(target.iterdir()) and not (target / MANIFEST).is_file():
        raise CheckpointError(
            f"OUT '{target}' must be empty or not exist yet; it holds files that masksolve did not write"
        )
    return target


def stage(checkpoint: Checkpoint, space: Workspace) -> None:
    """Make the unfinished files: their heads, and room for their tensors.

    Raises
    ------
    CheckpointError
        If there is not enough room on the disk, or a file cannot be written.
    """
    try:
        needed = 0
        for name, file in checkpoint.weights.items():
            path = space.files / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("r+b" if path.exists() else "x+b") as stream:
                stream.write(file.head)
                stream.truncate(file.size)
                needed += file.size - min(file.size, 512 * getattr(os.fstat(stream.fileno()), "st_blocks", 0))
        if hasattr(os, "statvfs"):
            disk = os.statvfs(space.path)
            free = disk.f_bfree * disk.f_frsize
            if needed > free:
                raise CheckpointError(
                    f"OUT '{space.target}' cannot be written: No space left on device, "
                    f"{needed / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB are free"
                )
    except CheckpointError:
        raise
    except OSError as error:
        raise unwritable(space.target, error) from error


def publish(checkpoint: Checkpoint, space: Workspace, report: Report) -> None:
    """Complete the new files, bring them to the disk, and give them their name in one step."""
    try:
        for name in checkpoint.weights:
            _complete(checkpoint, space, name)
        if checkpoint.is_folder:
            _carry(checkpoint, space, report.manifest())
            _rename_folder(space, checkpoint.path)
        else:
            (name,) = checkpoint.weights
            if space.target.exists():
                shutil.copymode(space.target, space.files / name)
            os.replace(space.files / name, space.target)
            _flush(space.target.parent)
    except OSError as error:
        if isinstance(error, CheckpointError):
            raise
        raise unwritable(space.target, error) from error


def _complete(checkpoint: Checkpoint, space: Workspace, name: str) -> None:
    file, path = checkpoint.weights[name], space.files / name
    if file.suffix == ".npz":
        packed = space.path / "packed.npz"
        pack_npz(file.path, file.entries, path, packed)
        os.replace(packed, path)
    path.chmod(stat.S_IMODE(file.path.stat().st_mode))
    _flush(path)


def _carry(checkpoint: Checkpoint, space: Workspace, manifest: dict[str, Any]) -> None:
    """Write what the folder holds beside its weights."""
    for name in checkpoint.carried:
        (space.files / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(checkpoint.path / name, space.files / name)
        shutil.copymode(checkpoint.path / name, space.files / name)
        _flush(space.files / name)
    for index in checkpoint.indices:
        _write_json(space.files / index.name, dict(index.content))
    _write_json(space.files / MANIFEST, manifest)
    space.files.chmod(stat.S_IMODE(checkpoint.path.stat().st_mode))
    _flush(space.files)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(content, indent=2) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def _rename_folder(space: Workspace, source: Path) -> None:
    """Replace the output folder; a folder cannot be renamed over one with content."""
    if space.target.exists() and any(space.target.iterdir()):
        old = space.path / "old"
        os.rename(space.target, old)
        os.rename(space.files, space.target)
        shutil.rmtree(old)
    else:
        os.rename(space.files, space.target)
    _flush(space.target.parent)


def _flush(path: Path) -> None:
    """Bring a file or, where the system allows it, the names in a folder to the disk."""
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
