"""Matrices whose tiles are dense or sparse, packed: exact round trips, the layout, sizes and refusals."""

import ml_dtypes
import numpy as np
import pytest

import masksolve as ms

BITS = {2: np.uint16, 4: np.uint32, 8: np.uint64, 1: np.uint8}


def hybrid(rng, shape, text, tile):
    """A mask with random dense tiles, made without `dense_tiles`."""
    mask = ms.solve(rng.random(shape), text).mask
    grid = (*shape[:-2], -(-shape[-2] // tile[0]), -(-shape[-1] // tile[1]))
    dense = rng.random(grid) < 0.5
    whole = np.kron(dense, np.ones(tile, bool))[..., : shape[-2], : shape[-1]]
    return mask | whole, dense


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int8, np.float64])
@pytest.mark.parametrize(
    ("text", "shape", "tile"),
    [
        ("2:4", (32, 32), (8, 16)),
        ("2:4 pad", (2, 19, 30), (8, 8)),
        ("2:4 axis=0", (32, 12), (8, 4)),
        ("4:8-T pad", (20, 27), (16, 8)),
        ("4:8-T pair", (32, 32), (16, 16)),
        ("2:4 x 4:8", (32, 32), (16, 8)),
        ("2:4 x 6:8 at_most pad", (19, 22), (8, 8)),
        ("8:2:16 pad", (20, 40), (16, 16)),
    ],
)
def test_round_trips_are_exact(text, shape, tile, dtype) -> None:
    rng = np.random.default_rng(len(text))
    mask, dense = hybrid(rng, shape, text, tile)
    dtype = np.dtype(dtype)
    weights = np.frombuffer(rng.bytes(mask.size * dtype.itemsize), dtype).reshape(shape)
    packed = ms.pack(weights, mask, text, dense=dense, tile=tile)
    expected = weights.copy()
    expected[~mask] = 0
    bits = BITS[dtype.itemsize]
    for side in ("rows", "columns") if ms.Pattern(text).transposable else ("rows",):
        assert np.array_equal(ms.unpack(packed, side=side).view(bits), expected.view(bits))
    assert packed.values.shape == (dense.sum(), *tile)
    assert packed.sparse.shape == ((~dense).sum(), *tile)


def test_the_layout_is_as_documented() -> None:
    weights = np.arange(1, 65, dtype=np.float32).reshape(8, 8)
    dense = np.array([[False, True], [True, False]])
    mask = np.tile([True, False, False, True], (8, 2))
    mask[:4, 4:] = mask[4:, :4] = True
    packed = ms.pack(weights, mask, "2:4", dense=dense, tile=4)
    assert np.array_equal(packed.values, [weights[:4, 4:], weights[4:, :4]])
    first, second = weights[:4, :4], weights[4:, 4:]
    assert np.array_equal(packed.sparse.rows.values, [first[:, [0, 3]], second[:, [0, 3]]])
    # 32 dense and 16 sparse values, 16 positions of two bits, and a bit for each of the four tiles
    assert packed.nbytes == 4 * (32 + 16) + 4 + 1
    assert packed.compression == pytest.approx(4 * 64 / packed.nbytes)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_tiles_may_be_of_one_kind(share) -> None:
    weights = np.random.default_rng(0).standard_normal((16, 16))
    found = ms.dense_tiles(weights, "2:4-T", share=share, tile=8, score="magnitude")
    packed = ms.pack(weights, found.masks, "2:4-T", dense=found.dense, tile=found.tile)
    assert np.array_equal(ms.unpack(packed), np.where(found.masks, weights, 0))


def test_refusals() -> None:
    weights = np.ones((8, 8))
    dense = np.array([[True, False], [False, False]])
    with pytest.raises(ms.PatternViolationError, match=r"tile=found.tile"):
        ms.pack(weights, weights > 0, "2:4")
    with pytest.raises(ms.PatternViolationError, match="12 violations"):
        ms.pack(weights, weights > 0, "2:4", dense=dense, tile=4)
    with pytest.raises(ValueError, match="must be given together"):
        ms.pack(weights, weights > 0, "2:4", dense=dense)
    with pytest.raises(ValueError, match="one entry for each tile"):
        ms.pack(weights, weights > 0, "2:4", dense=dense, tile=8)
