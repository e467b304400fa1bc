"""Packed files: read back without masksolve, bit by bit, they are the pruned weights."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors
from safetensors.numpy import load_file, save_file
from weight_files import fail, folder, gaussian, succeed

import masksolve as ms

TYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def fields(stream: np.ndarray, groups: int, width: int) -> list[list[int]]:
    """The field of each group of each row, read off the bytes as one integer of any size."""
    rows = [int.from_bytes(row.tobytes(), "little") for row in stream]
    return [[row >> group * width & (1 << width) - 1 for group in range(groups)] for row in rows]


def unpacked(values: np.ndarray, stream: np.ndarray, said: dict[str, int], columns: int) -> np.ndarray:
    """The dense matrix from values and fields of positions."""
    n, m, groups = said["n"], said["m"], said["groups"]
    bits = said["field_bits"] // n
    dense = np.zeros((len(values), groups * m), values.dtype)
    for row, held in enumerate(fields(stream, groups, said["field_bits"])):
        for group, field in enumerate(held):
            for i in range(n):
                dense[row, group * m + (field >> i * bits & (1 << bits) - 1)] = values[row, group * n + i]
    return dense[:, :columns]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("pattern", ["4:8-T", "2:4", "3:7 pad", "1:4-T at_most"])
def test_the_stream_gives_the_pruned_weights_back(tmp_path: Path, kind: str, pattern: str) -> None:
    weights = gaussian(16, 24).astype(TYPES[kind])
    weights[0, :8] = 0  # kept weights may be zero
    save_file({"w": weights}, tmp_path / "w.safetensors")
    ms.checkpoints.prune(tmp_path / "w.safetensors", tmp_path / "p.safetensors", pattern)
    pruned = load_file(tmp_path / "p.safetensors")["w"].view(f"u{weights.itemsize}")
    succeed("pack", tmp_path / "p.safetensors", "-o", tmp_path / "o.safetensors", "--pattern", pattern)
    made = load_file(tmp_path / "o.safetensors")
    with safetensors.safe_open(tmp_path / "o.safetensors", "np") as file:
        said = json.loads(file.metadata()["masksolve.packed"])["tensors"]["w"]
    for side, dense in {"rows": pruned, "columns": pruned.T}.items():
        assert (side in said) == (side == "rows" or "-T" in pattern)
        if side in said:
            values = made[f"w:{side}.values"]
            assert values.dtype == weights.dtype
            bits = values.view(f"u{values.itemsize}")
            found = unpacked(bits, made[f"w:{side}.metadata"], said[side], dense.shape[1])
            assert np.array_equal(found, dense)


def test_a_folder_knows_its_patterns(tmp_path: Path) -> None:
    ms.checkpoints.prune(folder(tmp_path / "in"), tmp_path / "out", "4:8-T")
    told = succeed("pack", tmp_path / "out", "-o", tmp_path / "o.safetensors", "--encoding", "bitmap")
    assert "model.layers.0.mlp.up_proj.weight: 4:8-T at_most, 4 groups a row, 8 bits each" in told
    made = load_file(tmp_path / "o.safetensors")
    assert made["model.layers.0.mlp.experts.down_proj:rows.values"].shape == (4, 32, 32)
    assert not any("embed" in key for key in made)


def test_what_cannot_be_packed_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", gaussian(8, 8))
    for target, message in (
        ("o.safetensors", "tensor 'w': mask must follow '2:4 at_most'"),
        ("o.bin", "must end"),
    ):
        line = fail("pack", tmp_path / "w.npy", "-o", tmp_path / target, "--pattern", "2:4")
        assert message in line
        assert not (tmp_path / target).exists()
