"""Parts of files are written past the page cache or through it; what stands there is the same."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from weight_files import gaussian

import masksolve as ms
from masksolve.checkpoints import writing
from masksolve.checkpoints.writing import BLOCK, room, write

COUNTS = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 17, 1 << 20]


@pytest.fixture(params=["direct", "cached", "refused", "half"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Systems with and without such writes, and ones that refuse them or take only a part."""
    way: str = request.param
    if way == "cached":
        monkeypatch.setattr(writing, "_DIRECT", 0)
    if way == "refused":
        monkeypatch.setattr(writing, "_write_direct", lambda *_: 0)
    if way == "half":
        whole = writing._write_direct
        monkeypatch.setattr(
            writing, "_write_direct", lambda path, place, view: whole(path, place, view[:BLOCK])
        )
    return way


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("place", [0, 8, BLOCK - 1, BLOCK, 3 * BLOCK + 24])
@pytest.mark.parametrize("count", COUNTS)
def test_bytes_go_where_they_belong_and_nowhere_else(
    tmp_path: Path, way: str, count: int, place: int, aligned: bool
) -> None:
    path = tmp_path / "file"
    before = np.random.default_rng(1).integers(1, 256, place + count + 100, np.uint8)
    path.write_bytes(before.tobytes())
    buffer = room(count, place if aligned else place + 1)
    buffer[:] = np.random.default_rng(2).integers(0, 256, count, np.uint8)
    write(path, place, buffer)
    before[place : place + count] = buffer
    assert path.read_bytes() == before.tobytes()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, way: str) -> None:
    with pytest.raises(OSError, match="missing") as caught:
        write(tmp_path / "missing", 0, room(3 * BLOCK, 0))
    assert caught.value.filename == str(tmp_path / "missing")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_an_error() -> None:
    with pytest.raises(OSError, match="No space left"):
        write(Path("/dev/full"), 0, room(3 * BLOCK, 0))


def test_a_folder_is_the_same_whichever_way_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tensors of odd lengths between, so that others begin anywhere."""
    tensors = {
        "a.weight": gaussian(64, 128),
        "b.odd": np.arange(5, dtype=np.uint8),
        "c.weight": gaussian(256, 64, dtype=np.float16),
    }
    (tmp_path / "in").mkdir()
    save_file(tensors, tmp_path / "in" / "model.safetensors")
    ms.checkpoints.prune(tmp_path / "in", tmp_path / "one", "2:4-T")
    monkeypatch.setattr(writing, "_DIRECT", 0)
    ms.checkpoints.prune(tmp_path / "in", tmp_path / "other", "2:4-T", workers=2)
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "other"))
    assert one == other
    length = int.from_bytes(one[:8], "little")
    assert (8 + length) % BLOCK == 0
    after = load_file(tmp_path / "one" / "model.safetensors")
    assert np.array_equal(after["b.odd"], tensors["b.odd"])
