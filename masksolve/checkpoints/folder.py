"""What a checkpoint consists of: weight files, their index, and what is carried over beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ..checks import did_you_mean
from ..errors import CheckpointError
from .formats import SUFFIXES, TORCH_SUFFIXES, WeightFile, open_weights, output_suffix

MANIFEST = "masksolve.json"

_INDEX = ".index.json"
_TRAINING = ("optimizer", "scheduler", "rng_state", "training_args", "scaler", "global_step")
_OTHER_WEIGHTS = (
    ".gguf",
    ".onnx",
    ".h5",
    ".msgpack",
    ".ot",
    ".tflite",
    ".onnx_data",
    ".mlmodel",
    ".pdparams",
)


@dataclass(frozen=True)
class Index:
    """An index that says in which file each tensor is; ``content`` is the JSON as it was read."""

    name: str
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """What there is to read.

    Attributes
    ----------
    path : Path
        The file or folder.
    weights : mapping of str to WeightFile
        By the name of the new file, relative to the output folder.
    indices : tuple of Index
    carried : tuple of str
        Files to copy as they are, relative to ``path``.
    left_out : mapping of str to str
        Files that the output does not get, and why.
    config : mapping
        The content of ``config.json``.
    """

    path: Path
    is_folder: bool
    weights: Mapping[str, WeightFile]
    indices: tuple[Index, ...] = ()
    carried: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


def check_existence(path: Path, what: str = "file or folder") -> None:
    """Refuse a path at which there is nothing, before it is judged by its name; name what is near it.

    Raises
    ------
    CheckpointError
        If there is nothing, or it cannot be told.
    """
    folder = path.parent
    try:
        if path.exists():
            return
        places = {place.name.lower(): str(place) for place in sorted(folder.iterdir()) if place.exists()}
    except FileNotFoundError:
        near = f"; nor is there a folder '{folder}'"
    except OSError as error:
        raise CheckpointError(f"{what} '{path}': {error.strerror or error}") from error
    else:
        stems = {Path(name).stem: place for name, place in places.items()}
        near = did_you_mean(path.name, (), {**stems, **places})
    raise CheckpointError(f"{what} '{path}': No such file or directory{near}")


def open_checkpoint(path: Path) -> Checkpoint:
    """Read what a file, a folder or the folder of an index holds; weights stay unread.

    Raises
    ------
    CheckpointError
        If anything cannot be read, an index does not fit its files, or there is no weight file.
    """
    check_existence(path)
    if path.is_dir() and path.suffix.lower() not in SUFFIXES:
        return _folder(path)
    if path.name.endswith(_INDEX):
        _read_json(path, "index")  # says what is wrong with it
        return _folder(path.parent)
    return Checkpoint(path, False, {path.name: open_weights(path)})


def _folder(path: Path) -> Checkpoint:
    files, left_out = _sorted_out(path)
    modern = any(Path(name).suffix == ".safetensors" for name in files)
    weights: dict[str, WeightFile] = {}
    carried: list[str] = []
    for name in files:
        suffix = Path(name).suffix.lower()
        if suffix not in SUFFIXES:
            carried.append(name)
        elif suffix in TORCH_SUFFIXES and Path(name).name.startswith(_TRAINING):
            left_out[name] = "state of the training"
        elif suffix in TORCH_SUFFIXES and modern:
            left_out[name] = "torch weights beside .safetensors ones"
        else:
            weights[_new_name(name)] = open_weights(path / name)
    if not weights and any(name.endswith(".distcp") for name in carried):
        raise CheckpointError(
            f"folder '{path}' is a distributed checkpoint of torch, which only torch can read"
            f"; convert it first: python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
            f"'{path}' model.pt"
        )
    if not weights:
        raise CheckpointError(f"folder '{path}' must hold weight files ({', '.join(SUFFIXES)}), it has none")
    indices = []
    for name in [name for name in carried if name.endswith(_INDEX)]:
        carried.remove(name)
        if modern and ".bin" in name:
            left_out[name] = "index of torch weights"
        else:
            indices.append(_index(path, name, weights))
    config = _read_json(path / "config.json", "file") if "config.json" in carried else {}
    return Checkpoint(path, True, weights, tuple(indices), tuple(carried), left_out, config)


def _sorted_out(path: Path) -> tuple[list[str], dict[str, str]]:
    """Names of the files to read or to copy, and those that are left out, with the reason."""
    files: list[str] = []
    left_out: dict[str, str] = {}
    for name in sorted(_walk(path, left_out)):
        place = path / name
        if Path(name).name == MANIFEST:
            continue
        if not place.exists():
            if place.suffix.lower() in SUFFIXES:
                raise CheckpointError(f"file '{place}' is a symbolic link to nothing")
            left_out[name] = "a symbolic link to nothing"
        elif not place.is_file():
            left_out[name] = "not a regular file"
        elif place.suffix.lower() in _OTHER_WEIGHTS:
            left_out[name] = "dense weights in another format"
        elif place.suffix.lower() not in SUFFIXES and not _stays_inside(place, path):
            left_out[name] = "a symbolic link that leads out of the folder"
        else:
            files.append(name)
    return files, left_out


def _walk(path: Path, left_out: dict[str, str]) -> Iterator[str]:
    """Relative names of all files; hidden folders (``.git``, ``.cache``) are passed over."""

    def refuse(error: OSError) -> None:
        raise CheckpointError(f"folder '{error.filename}': {error.strerror}") from error

    for place, folders, names in os.walk(path, onerror=refuse):
        inner = Path(place).relative_to(path)
        for folder in list(folders):
            if folder.startswith("."):
                folders.remove(folder)
            elif (Path(place) / folder).is_symlink():
                folders.remove(folder)
                left_out[(inner / folder).as_posix()] = "a symbolic link to a folder"
        yield from ((inner / name).as_posix() for name in names)


def _stays_inside(place: Path, folder: Path) -> bool:
    """Whether a file really is in the folder, or where a download cache keeps the folder's files.

    Such a cache has ``snapshots/REVISION/`` full of links into ``blobs/``. Any other link may lead to
    a file that its owner never meant to publish with a model.
    """
    if not place.is_symlink():
        return True
    real, home = place.resolve(), folder.resolve()
    allowed = [home]
    if home.parent.name == "snapshots":
        allowed.append(home.parent.parent / "blobs")
    return any(real.is_relative_to(where) for where in allowed)


def _new_name(name: str) -> str:
    """``pytorch_model-00001-of-00002.bin`` becomes ``model-00001-of-00002.safetensors``."""
    old = PurePosixPath(name)
    if old.suffix.lower() not in TORCH_SUFFIXES:
        return name
    return str(old.with_name(old.stem.replace("pytorch_model", "model") + output_suffix(Path(name))))


def _index(path: Path, name: str, weights: Mapping[str, WeightFile]) -> Index:
    """Read an index and compare it with the files it names."""
    content = _read_json(path / name, "index")
    places = content.get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
        raise CheckpointError(f"index '{path / name}' must hold a table 'weight_map' of file names by tensor")
    inner = PurePosixPath(name).parent
    new: dict[str, str] = {}
    held: dict[str, set[str]] = {}
    for tensor, file in places.items():
        if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts or "\\" in file:
            raise CheckpointError(f"index '{path / name}' must name files in its folder, got {file!r}")
        where = _new_name((inner / file).as_posix())
        if where not in weights:
            raise CheckpointError(f"index '{path / name}' names '{file}', which is not in the folder")
        names = held.setdefault(where, {entry.name for entry in weights[where].entries})
        if tensor not in names:
            raise CheckpointError(f"index '{path / name}': file '{file}' has no tensor '{tensor}'")
        new[tensor] = str(PurePosixPath(where).relative_to(inner))
    for where, names in held.items():  # what the index forgot is in the files all the same
        new.update(dict.fromkeys(names - set(new), str(PurePosixPath(where).relative_to(inner))))
    metadata = {**content.get("metadata", {}), "total_size": _total(weights, held)}
    new_name = name.replace("pytorch_model.bin", "model.safetensors")
    return Index(new_name, {**content, "metadata": metadata, "weight_map": new})


def _total(weights: Mapping[str, WeightFile], held: Mapping[str, set[str]]) -> int:
    return sum(entry.nbytes for where in held for entry in weights[where].entries)


def _read_json(path: Path, what: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{what} '{path}': {error.strerror or error}") from error
    except ValueError as error:
        raise CheckpointError(f"{what} '{path}' must be JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{what} '{path}' must be a JSON object, got {type(content).__name__}")
    return content
