"""Exact values of exchanges against tiles solved one by one."""

from __future__ import annotations

import numpy as np
import pytest

import masksolve as ms
from masksolve._ext import columns
from masksolve.pruning.permutation.exchange import solved, table_of

PATTERNS = (
    "2:4", "1:4", "4:4", "2:4 at_most", "1:2-T", "2:4-T", "1:3-T", "3:4-T", "2:4-T at_most", "4:4-T at_most",
    "4:8-T", "2:8-T", "7:8-T", "3:6-T", "2:5-T",
)  # fmt: skip
FAMILIES = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "ties": lambda rng, shape: rng.integers(0, 3, shape),
    "zeros": lambda rng, shape: np.zeros(shape),
    "heavy-tailed": lambda rng, shape: rng.standard_t(1, shape),
    "wide": lambda rng, shape: rng.random(shape) * 10.0 ** rng.integers(-6, 6, shape),
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("family", FAMILIES)
def test_tables_agree_with_solved_tiles(pattern: str, family: str) -> None:
    parsed = ms.Pattern.parse(pattern)
    rng, m = np.random.default_rng(0), parsed.m
    entries = m if parsed.transposable else 1
    tiles, groups, channels = 3, 5, 20
    held = FAMILIES[family](rng, (tiles, groups, m - 1, entries)).astype(np.float32)
    free = FAMILIES[family](rng, (tiles, channels, entries)).astype(np.float32)
    table = table_of(parsed)
    assert table is not None
    sums = np.zeros((groups, channels), np.float32)
    columns.max_plus(np.ascontiguousarray(table.held(held)), np.ascontiguousarray(table.freed(free)), sums)
    whole = np.concatenate(
        [
            np.broadcast_to(held[:, :, None], (tiles, groups, channels, m - 1, entries)),
            np.broadcast_to(free[:, None, :, None], (tiles, groups, channels, 1, entries)),
        ],
        axis=3,
    )
    expected = solved(np.ascontiguousarray(whole.swapaxes(-1, -2)), parsed).sum(axis=0)
    scale = max(np.abs(held).sum(axis=(1, 2, 3)).max(), np.abs(free).max(), 1e-30)
    np.testing.assert_allclose(sums, expected, atol=3e-6 * float(scale))


@pytest.mark.parametrize("pattern", ["2:4-T", "4:8-T"])
def test_masks_from_small_integers_are_exact(pattern: str) -> None:
    """Sums of small integers are exact in float32, so that a wrong mask cannot hide in a tolerance."""
    parsed = ms.Pattern.parse(pattern)
    tiles = np.random.default_rng(1).integers(-50, 50, (2000, parsed.m, parsed.m)).astype(np.float32)
    table = table_of(parsed)
    assert table is not None
    found = (table.held(tiles[:, None, 1:])[:, 0] + table.freed(tiles[:, :1])[..., 0]).max(axis=1)
    np.testing.assert_array_equal(found, solved(tiles.swapaxes(-1, -2), parsed))


@pytest.mark.parametrize("pattern", ["4:8-T at_most", "8:16-T"])
def test_patterns_with_too_many_sets_have_no_table(pattern: str) -> None:
    assert table_of(ms.Pattern.parse(pattern)) is None


@pytest.mark.parametrize("channels", [1, 15, 16, 63, 64, 100])
def test_product_of_every_width(channels: int) -> None:
    rng = np.random.default_rng(channels)
    held = rng.standard_normal((3, 4, 7)).astype(np.float32)
    free = rng.standard_normal((3, 7, channels)).astype(np.float32)
    sums = np.ones((4, channels), np.float32)
    columns.max_plus(held, free, sums)
    expected = 1 + (held[:, :, :, None] + free[:, None]).max(axis=2).sum(axis=0)
    np.testing.assert_allclose(sums, expected, rtol=1e-5, atol=1e-5)


def test_shapes_are_checked() -> None:
    sums = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"freed must hold float32 of shape \(1, 3, 3\), got .* \(1, 2, 3\)"):
        columns.max_plus(np.zeros((1, 2, 3), np.float32), np.zeros((1, 2, 3), np.float32), sums)
    with pytest.raises(ValueError, match=r"held must hold float32 .* got float64"):
        columns.max_plus(np.zeros((1, 2, 3)), np.zeros((1, 3, 3), np.float32), sums)
    gaps = np.zeros((1, 2, 6), np.float32)[:, :, ::2]
    with pytest.raises(ValueError, match="contiguous"):
        columns.max_plus(gaps, np.zeros((1, 3, 3), np.float32), sums)
    with pytest.raises(ValueError, match="weights must have shape"):
        columns.held_table(
            np.zeros((1, 9, 9), np.float32),
            2,
            np.zeros(1, np.uint8),
            np.zeros(1, np.int32),
            np.zeros(1, np.int32),
            np.zeros((1, 1), np.float32),
        )
    for walk, nearest, message in (([1], [0], "walk must hold"), ([0], [1], "nearest must hold")):
        with pytest.raises(ValueError, match=message):
            columns.held_table(
                np.zeros((1, 1, 2), np.float32),
                1,
                np.ones(1, np.uint8),
                np.array(walk, np.int32),
                np.array(nearest, np.int32),
                np.zeros((1, 1), np.float32),
            )
