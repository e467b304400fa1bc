"""Packed files of every kind of pattern, read by a decoder that follows docs/packing.md and nothing else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors import safe_open
from weight_files import succeed

import masksolve as ms

Array = npt.NDArray[Any]


def positions_of(field: int, n: int, m: int, encoding: str) -> list[int]:
    """The positions that a field holds, by the table of the page."""
    if encoding == "bitmap":
        return [j for j in range(m) if field >> j & 1]
    if encoding == "positions":
        width = math.ceil(math.log2(m))
        return [field >> i * width & (1 << width) - 1 for i in range(n)]
    found: list[int] = []
    for i in range(n, 0, -1):  # the largest c with C(c, i) <= what is left
        place = max(c for c in range(m) if math.comb(c, i) <= field)
        field -= math.comb(place, i)
        found.insert(0, place)
    return found


def entries_of(field: int, said: dict[str, int], encoding: str, pair: bool) -> list[int]:
    if not pair:
        return positions_of(field, said["n"], said["m"], encoding)
    halves = positions_of(field, said["n"] // 2, said["m"] // 2, encoding)
    return [entry for place in halves for entry in (2 * place, 2 * place + 1)]


def decoded(tensors: dict[str, Array], told: dict[str, Any], side: str, encoding: str) -> Array:
    """The dense rows of a matrix, as wide as whole groups make them."""
    said, words = told[side], told["pattern"].split()
    values, stream = tensors[f"w:{side}.values"], tensors[f"w:{side}.metadata"]
    used = tensors.get("w:used")
    vector, _, m = (int(number) for number in words[0].split(":")) if used is not None else (1, 2, said["m"])
    dense = np.zeros((len(values), said["groups"] * m), values.dtype)
    for row, held in enumerate(values):
        bits = "".join(f"{byte:08b}"[::-1] for byte in stream[row])
        for group in range(said["groups"]):
            start = group * said["field_bits"]
            field = int(bits[start : start + said["field_bits"]][::-1] or "0", 2)
            for i, place in enumerate(entries_of(field, said, encoding, "pair" in words)):
                column = place if used is None else int(used[row // vector, group, place])
                dense[row, group * m + column] += held[group * said["n"] + i]
    return dense


@pytest.mark.parametrize("align", [8, 128])
@pytest.mark.parametrize("encoding", ["positions", "bitmap", "rank"])
@pytest.mark.parametrize(
    ("pattern", "shape"),
    [
        ("2:4", (8, 32)),
        ("4:8", (8, 32)),
        ("4:8-T", (16, 32)),
        ("4:8 pair", (8, 32)),
        ("4:8-T pair", (16, 32)),
        ("2:4 x 4:8", (16, 16)),
        ("64:2:8", (128, 32)),
        ("8:2:16 pad", (20, 40)),
        ("16:2:32", (32, 64)),
        ("3:7 dense", (5, 30)),
        ("1:5 pad", (3, 23)),
        ("2:4 axis=0", (16, 8)),
        ("16:32-T", (32, 32)),
        ("1:1", (2, 3)),
    ],
)
def test_the_page_suffices_to_decode(
    tmp_path: Path, pattern: str, shape: tuple[int, int], encoding: str, align: int
) -> None:
    weights = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    pruned = np.where(ms.solve(weights, pattern, score="magnitude").mask, weights, 0)
    pruned.flat[np.flatnonzero(pruned)[::5]] = 0  # groups with fewer than n
    np.save(tmp_path / "w.npy", pruned)
    packed = tmp_path / "o.safetensors"
    options = ["--pattern", pattern, "--encoding", encoding, "--align", str(align)]
    succeed("pack", tmp_path / "w.npy", "-o", packed, *options)
    with safe_open(packed, "np") as file:
        told = json.loads(file.metadata()["masksolve.packed"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert (told["encoding"], told["align"]) == (encoding, align)
    assert all(array.shape[-1] % (align // 8) == 0 for name, array in tensors.items() if "metadata" in name)
    expected = np.moveaxis(pruned, 0, -1) if "axis=0" in pattern else pruned
    found = decoded(tensors, told["tensors"]["w"], "rows", encoding)
    if "dense" in pattern:
        found = np.concatenate([found, tensors["w:tails.0"]], axis=1)
    assert np.array_equal(found[:, : expected.shape[1]], expected)
    if "columns" in told["tensors"]["w"]:
        assert np.array_equal(decoded(tensors, told["tensors"]["w"], "columns", encoding), pruned.T)
