"""Verification of weights, and violations for machines."""

from __future__ import annotations

import json

import numpy as np
import pytest

import masksolve as ms


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int8", "uint8", "int64", "complex64"])
def test_weights_that_are_not_zero_are_kept(dtype: str) -> None:
    rng = np.random.default_rng(0)
    mask = ms.solve(rng.random((16, 16)), "2:4-T", backend="enumerate").mask
    values = (rng.integers(1, 9, mask.shape) * mask).astype(dtype)
    assert ms.verify(values, "2:4-T").ok
    values[3, np.flatnonzero(~mask[3])[0]] = 1
    assert [(found.tile, found.count) for found in ms.verify(values, "2:4").violations] != []
    assert ms.verify(values, "2:4-T").violations == ms.verify(values != 0, "2:4-T").violations


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_short_types(dtype: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    values = np.array([[1.0, 0.0, -0.0, 2.0]]).astype(getattr(ml_dtypes, dtype))
    assert ms.verify(values, "2:4").ok
    assert not ms.verify(values, "1:4").ok


def test_zero_has_two_signs_and_nan_is_kept() -> None:
    assert ms.verify([[0.0, -0.0, np.nan, np.inf]], "2:4").ok


def test_a_weight_that_happens_to_be_zero_counts_as_dropped() -> None:
    pruned = [[1.0, 0.0, 0.0, 0.0]]
    assert not ms.verify(pruned, "2:4").ok
    assert ms.verify(pruned, "2:4 at_most").ok


def test_torch_weights() -> None:
    torch = pytest.importorskip("torch")
    assert ms.verify(torch.tensor([[1.0, 0.0, 0.0, 2.0]], dtype=torch.bfloat16), "2:4").ok


@pytest.mark.parametrize("pattern", ["2:4", "2:4 axis=0", "2:4-T", "1:3-T pad", "2:4-T at_most", "3:5 dense"])
@pytest.mark.parametrize("shape", [(8, 12), (2, 8, 12)])
def test_machines_read_what_people_read(pattern: str, shape: tuple[int, ...]) -> None:
    if ms.Pattern.parse(pattern).misfit(shape):
        pattern = f"{pattern} pad"
    mask = np.random.default_rng(1).random(shape) < 0.5
    found = ms.verify(mask, pattern)
    told = json.loads(json.dumps(found.to_dict()))
    assert (told["ok"], told["count"], told["tiles"], told["pattern"]) == (
        found.ok,
        len(found),
        found.tiles,
        str(found.pattern),
    )
    assert len(told["violations"]) == len(found)
    for said, violation in zip(told["violations"], found.violations, strict=True):
        assert said["tile"] == np.ravel_multi_index(said["place"], told["shape"]) == violation.tile
        assert (said["axis"], said["index"], said["kept"]) == (
            violation.axis,
            violation.index,
            violation.count,
        )
        assert not said["least"] <= said["kept"] <= said["most"]


def test_places_point_at_the_tile() -> None:
    mask = np.zeros((2, 8, 12), bool)
    mask[1, 4:, 8:] = True
    places = [each["place"] for each in ms.verify(mask, "1:4-T at_most").to_dict()["violations"]]
    assert places == [[1, 1, 2]] * 8


def test_a_limit_shortens_the_list_and_not_the_count() -> None:
    told = ms.verify(np.ones((8, 8), bool), "2:4").to_dict(limit=3)
    assert (len(told["violations"]), told["count"], told["ok"]) == (3, 16, False)
    assert ms.verify(np.ones((4, 4), bool), "4:4").to_dict()["violations"] == []
