"""Results: what they say, what they keep, and the way to a file and back."""

from __future__ import annotations

import io
import json
import math
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import numpy as np
import pytest

import masksolve as ms
from masksolve.testing.families import FAMILIES

PATTERNS = ["2:4", "1:3 axis=0", "2:4-T", "3:5-T at_most pad", "4:8-T dense", "2:4 pad"]


def solved(shape: tuple[int, ...] = (16, 24), pattern: str = "2:4-T", seed: int = 0) -> tuple:
    scores = np.random.default_rng(seed).random(shape)
    return scores, ms.solve(scores, pattern, backend="highs", duals=True, tiles=True)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", [(16, 24), (3, 8, 16), (0, 8), (7, 9)])
def test_a_file_brings_back_everything(pattern: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    if ms.Pattern.parse(pattern).misfit(shape):
        pattern = f"{pattern} pad"
    scores, result = solved(shape, pattern)
    result.save(tmp_path / "mask")  # no ending is appended
    again = ms.MaskResult.load(tmp_path / "mask")
    assert again.mask.dtype == np.bool_
    assert np.array_equal(again.mask, result.mask)
    for name in ("objective", "bound", "status", "backend", "pattern", "score"):
        assert getattr(again, name) == getattr(result, name)
    for mine, theirs in ((result.duals, again.duals), (result.tiles, again.tiles)):
        for one, other in zip(mine, theirs, strict=True):
            assert (one is None) == (other is None)
            assert one is None or (one.dtype == other.dtype and np.array_equal(one, other))
    proof = ms.recompute_certificate(scores, again.mask, again.pattern, again.duals)
    assert proof.objective == pytest.approx(result.objective, rel=1e-12)
    assert proof.bound <= result.bound * (1 + 1e-9)


def test_a_mask_takes_a_bit_an_entry() -> None:
    result = ms.solve(np.random.default_rng(1).random((256, 256)), "2:4", duals=False, tiles=False)
    file = io.BytesIO()
    result.save(file)
    assert len(file.getvalue()) < 256 * 256 / 8 + 2048
    file.seek(0)
    assert np.array_equal(ms.MaskResult.load(file).mask, result.mask)
    assert not file.closed


def test_a_file_proves_nothing(tmp_path: Path) -> None:
    scores, result = solved()
    shifted = np.roll(result.mask, 4, axis=1)
    forged = ms.MaskResult(shifted, 1e9, 1e9, ms.Status.OPTIMAL, "exact", result.pattern)
    forged.save(tmp_path / "forged.npz")
    again = ms.MaskResult.load(tmp_path / "forged.npz")
    proof = ms.recompute_certificate(scores, again.mask, again.pattern, again.duals)
    assert proof.objective < proof.bound < 1e9


def parts_of(result: ms.MaskResult) -> dict[str, np.ndarray]:
    file = io.BytesIO()
    result.save(file)
    file.seek(0)
    return dict(np.load(file))


def with_head(parts: dict[str, np.ndarray], **changes: object) -> dict[str, np.ndarray]:
    head = json.loads(parts["head"].tobytes()) | changes
    return {**parts, "head": np.frombuffer(json.dumps(head).encode(), np.uint8)}


SPOILT = {
    "format": lambda parts: with_head(parts, format="masksolve result 999"),
    "shape": lambda parts: with_head(parts, shape=[16, 28]),
    "huge": lambda parts: with_head(parts, shape=[2**40, 2**40]),
    "negative": lambda parts: with_head(parts, shape=[-16, -24]),
    "pattern": lambda parts: with_head(parts, pattern="2:5-T"),
    "status": lambda parts: with_head(parts, status="PERFECT"),
    "objective": lambda parts: with_head(parts, objective="many"),
    "not an object": lambda parts: {**parts, "head": np.frombuffer(b"[]", np.uint8)},
    "no mask": lambda parts: {key: value for key, value in parts.items() if key != "mask_bits"},
    "short mask": lambda parts: {**parts, "mask_bits": parts["mask_bits"][:-1]},
    "prices": lambda parts: {**parts, "duals_rows": parts["duals_rows"][:-1]},
    "nan prices": lambda parts: {**parts, "duals_rows": parts["duals_rows"] * np.nan},
    "tiles": lambda parts: {**parts, "tiles_bound": parts["tiles_bound"][:-1]},
}


@pytest.mark.parametrize("fault", SPOILT)
def test_spoilt_files_are_refused(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "spoilt.npz"
    np.savez(path, **SPOILT[fault](parts_of(solved()[1])))
    with pytest.raises(ValueError, match=r"file must be an archive .*spoilt\.npz"):
        ms.MaskResult.load(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(b"no archive at all")
    with pytest.raises(ValueError, match=r"file must be an archive .*other"):
        ms.MaskResult.load(path)
    np.save(tmp_path / "array.npy", np.ones(3))
    with pytest.raises(ValueError, match=r"file must be an archive"):
        ms.MaskResult.load(tmp_path / "array.npy")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("head.npy", b"broken")
    with pytest.raises(ValueError, match=r"file must be an archive"):
        ms.MaskResult.load(path)
    with pytest.raises(FileNotFoundError):
        ms.MaskResult.load(tmp_path / "nowhere")


@pytest.mark.parametrize("score", ["value", "magnitude", "square"])
@pytest.mark.parametrize("dtype", ["float64", "float16", "int8"])
def test_retained_is_the_share_of_the_worth(score: str, dtype: str) -> None:
    weights = (np.random.default_rng(2).standard_normal((12, 16)) * 20).astype(dtype)
    result = ms.solve(weights, "1:4", backend="enumerate", score=score)
    exact = weights.astype(float)
    worth = {"value": exact, "magnitude": abs(exact), "square": exact**2}[score]
    expected = worth[result.mask].sum() / worth[worth > 0].sum()
    assert result.retained(weights) == pytest.approx(expected, rel=1e-12)


def test_retained_of_nothing_and_of_other_shapes() -> None:
    zeros = np.zeros((4, 4))
    result = ms.solve(zeros, "2:4")
    assert result.retained(zeros) == 1.0
    with pytest.raises(ValueError, match=r"scores must have the shape of the mask \(4, 4\), got \(4,\)"):
        result.retained(zeros[0])


@pytest.mark.parametrize("pattern", ["2:4", "3:4", "1:4-T", "1:4-T at_most"])
def test_density(pattern: str) -> None:
    result = ms.solve(np.ones((8, 8)), pattern, backend="enumerate")
    assert result.density == ms.Pattern(pattern).density == result.mask.mean()
    assert ms.solve(np.ones((0, 4)), pattern, backend="enumerate").density == 0.0


@pytest.mark.parametrize("shape", [(64, 64), (2, 8, 8), (8, 4), (0, 4)])
def test_a_notebook_shows_a_table_and_a_picture(shape: tuple[int, ...]) -> None:
    _, result = solved(shape)
    page = ET.fromstring(result._repr_html_())  # well-formed
    cells = "".join(page.itertext())
    assert "OPTIMAL" in cells.upper()
    assert str(result.pattern) in cells
    pictures = page.findall(".//svg")
    assert len(pictures) == (math.prod(shape) > 0)
    if pictures:
        corner = result.mask.reshape(-1, *shape[-2:])[0][:32, :32]
        assert pictures[0].find("path").get("d").count("M") == corner.sum()


def test_words_say_what_is_open() -> None:
    scores = np.random.default_rng(3).random((16, 16))
    result = ms.solve(scores, "2:4-T", backend="greedy", bound=True)
    assert f"of which {result.stats['open']} are not proven optimal" in str(result)
    assert str(result).startswith("FEASIBLE: the mask follows the pattern")
    assert "no bound was computed" in str(ms.solve(scores, "2:4-T", backend="greedy"))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_survives_a_file(family: str) -> None:
    scores = FAMILIES[family](np.random.default_rng(5), (8, 16))
    result = ms.solve(scores, "2:4", duals=True)
    file = io.BytesIO()
    result.save(file)
    file.seek(0)
    again = ms.MaskResult.load(file)
    assert (again.objective, again.bound) == (result.objective, result.bound)
    proof = ms.recompute_certificate(scores, again.mask, again.pattern, again.duals)
    assert proof.bound >= again.objective
