"""pack and unpack: exact round trips in both orientations, refusals, and the hardware layout."""

import math

import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings

import masksolve as ms
from masksolve.hardware import cutlass_metadata

DTYPES = [
    np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.float32, np.float64, np.complex64,
    np.bool_, np.int8, np.uint8, np.int16, np.uint32, np.int64, np.dtype(">f4"),
]  # fmt: skip


def random_bits(rng, shape, dtype):
    """Every bit pattern: NaNs with payloads, negative zeros and infinities included."""
    dtype = np.dtype(dtype)
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    count = math.prod(shape)
    return np.frombuffer(rng.bytes(count * dtype.itemsize), dtype).reshape(shape)


def random_mask(rng, shape, pattern):
    """A mask that follows the pattern: shuffled circulant tiles, thinned out where that is allowed."""
    pattern = ms.Pattern.parse(pattern)
    n, m = pattern.n, pattern.m
    if pattern.transposable:
        down, across = (-(-size // m) for size in shape[-2:])
        whole = np.zeros((*shape[:-2], down, m, across, m), bool)
        for place in np.ndindex(*shape[:-2], down, across):
            whole[*place[:-1], :, place[-1]] = circulant(rng, n, m)
        mask = whole.reshape(*shape[:-2], down * m, across * m)[..., : shape[-2], : shape[-1]].copy()
    else:
        axis = pattern.axis % len(shape)
        length = -(-shape[axis] // m) * m
        groups = np.zeros((*shape[:axis], *shape[axis + 1 :], length // m, m), bool)
        groups[..., :n] = True
        groups = rng.permuted(groups, axis=-1).reshape(*groups.shape[:-2], length)
        mask = np.moveaxis(groups, -1, axis).take(np.arange(shape[axis]), axis).copy()
    if pattern.remainder == "dense":
        whole_sizes = [size - size % m for size in shape]
        axes = (-2, -1) if pattern.transposable else (pattern.axis,)
        for axis in axes:
            np.moveaxis(mask, axis, -1)[..., whole_sizes[axis] :] = True
    if pattern.constraint == "at_most":
        mask &= rng.random(shape) < 0.7
    return mask


def circulant(rng, n, m):
    tile = (np.arange(m)[:, None] + np.arange(m)) % m < n
    return tile[rng.permutation(m)][:, rng.permutation(m)]


def expected(weights, mask):
    dense = weights.copy()
    dense[~mask] = 0
    return dense


def assert_same_bits(got, wanted):
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    assert got.tobytes() == wanted.tobytes()


def assert_round_trip(weights, mask, pattern):
    packed = ms.pack(weights, mask, pattern)
    assert_same_bits(ms.unpack(packed), expected(weights, mask))
    if ms.Pattern.parse(pattern).transposable:
        assert_same_bits(ms.unpack(packed, side="columns"), expected(weights, mask))
    return packed


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("pattern", ["2:4", "2:4-T", "1:2 axis=0", "3:5 at_most pad", "2:6-T dense"])
def test_every_dtype_returns_bit_for_bit(dtype, pattern):
    rng = np.random.default_rng(7)
    weights = random_bits(rng, (12, 20), dtype)
    assert_round_trip(weights, random_mask(rng, weights.shape, pattern), pattern)


@st.composite
def cases(draw):
    m = draw(st.one_of(st.integers(1, 12), st.sampled_from([16, 32, 64])))
    n = draw(st.integers(1, m))
    remainder = draw(st.sampled_from(["error", "pad", "dense"]))
    axes = draw(st.integers(2, 4))
    shape = [draw(st.integers(0, 3)) for _ in range(axes)]
    transposable = draw(st.booleans())
    axis = -1 if transposable else draw(st.integers(-axes, axes - 1))
    for grouped in (-2, -1) if transposable else (axis,):
        cut = 0 if remainder == "error" else draw(st.integers(0, m))
        shape[grouped] = m * draw(st.integers(0, 3)) + cut
    pattern = ms.Pattern(
        n, m, transposable=transposable, axis=axis, remainder=remainder,
        constraint=draw(st.sampled_from(["exact", "at_most"])),
    )  # fmt: skip
    return pattern, tuple(shape), draw(st.integers(0, 2**32 - 1))


@given(cases())
@settings(max_examples=150, deadline=None)
def test_every_pattern_and_shape_returns_bit_for_bit(case):
    pattern, shape, seed = case
    rng = np.random.default_rng(seed)
    weights, mask = random_bits(rng, shape, np.float32), random_mask(rng, shape, pattern)
    packed = assert_round_trip(weights, mask, pattern)
    for side in (packed.rows, packed.columns or packed.rows):
        positions = side.indices.reshape(-1, pattern.n).astype(int)
        assert (np.diff(positions, axis=1) > 0).all()
        assert ((positions >= 0) & (positions < pattern.m)).all()


def test_layout_in_both_orientations():
    weights = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]])
    mask = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]], bool)
    packed = ms.pack(weights, mask, "2:4-T")
    assert packed.rows.values.tolist() == [[1, 3], [6, 8], [9, 12], [14, 15]]
    assert packed.rows.indices.tolist() == [[0, 2], [1, 3], [0, 3], [1, 2]]
    assert packed.columns.values.tolist() == [[1, 9], [6, 14], [3, 15], [8, 12]]
    assert packed.columns.indices.tolist() == [[0, 2], [1, 3], [0, 3], [1, 2]]
    assert packed.rows.indices.dtype == np.uint8


def test_one_directional_moves_its_axis_to_the_end():
    weights = np.arange(8).reshape(4, 2)
    mask = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], bool)
    packed = ms.pack(weights, mask, "2:4 axis=0")
    assert packed.rows.values.tolist() == [[0, 4], [3, 5]]
    assert packed.rows.indices.tolist() == [[0, 2], [1, 2]]
    assert packed.columns is None


def test_the_mask_decides():
    weights = np.array([[-0.0, 5.0, np.nan, 7.0]], np.float32)
    packed = ms.pack(weights, np.array([[True, False, True, False]]), "2:4")
    assert np.signbit(packed.rows.values[0, 0])
    assert np.isnan(packed.rows.values[0, 1])
    assert_same_bits(ms.unpack(packed), np.array([[-0.0, 0.0, np.nan, 0.0]], np.float32))


def test_short_groups_are_topped_up_with_zeros():
    packed = ms.pack([[9, 9, 9, 9, 9, 9]], [[False, True, False, False, True, False]], "2:4 at_most pad")
    assert packed.rows.values.tolist() == [[9, 0, 9, 0]]
    assert packed.rows.indices.tolist() == [[1, 2, 0, 2]]


def test_dense_tails_are_held_whole():
    weights = np.arange(30).reshape(5, 6)
    mask = np.ones((5, 6), bool)
    mask[:4, :4] = circulant(np.random.default_rng(0), 2, 4)
    packed = ms.pack(weights, mask, "2:4-T dense")
    assert [tail.shape for tail in packed.tails] == [(1, 6), (4, 2)]
    assert_same_bits(ms.unpack(packed), expected(weights, mask))


def test_views_and_read_only_input_are_left_alone():
    rng = np.random.default_rng(3)
    base = rng.standard_normal((3, 16, 8))
    weights, mask = base.transpose(0, 2, 1)[::2], random_mask(rng, (2, 8, 16), "4:8-T")
    before = base.copy()
    base.flags.writeable = False
    mask.flags.writeable = False
    assert_round_trip(weights, mask, "4:8-T")
    assert np.array_equal(base, before)


def test_packed_holds_no_view_of_the_input():
    weights, mask = np.ones((4, 6)), np.ones((4, 6), bool)
    packed = ms.pack(weights, mask, "4:4 dense")
    weights[:] = 2
    assert ms.unpack(packed).max() == 1


@pytest.mark.parametrize(
    ("pattern", "dtype", "bits_per_weight"),
    [("2:4", np.float16, 9), ("4:8", np.float16, 9.5), ("2:4", np.int8, 5), ("1:1", np.int8, 8)],
)
def test_memory(pattern, dtype, bits_per_weight):
    weights = np.ones((16, 64), dtype)
    packed = ms.pack(weights, random_mask(np.random.default_rng(0), (16, 64), pattern), pattern)
    assert packed.nbytes == 16 * 64 * bits_per_weight / 8
    assert packed.compression == pytest.approx(8 * weights.itemsize / bits_per_weight)


def test_memory_of_both_orientations():
    mask = random_mask(np.random.default_rng(0), (16, 16), "8:16-T")
    packed = ms.pack(np.ones((16, 16), np.float16), mask, "8:16-T")
    assert packed.nbytes == 2 * packed.rows.nbytes == 2 * (128 * 2 + 128 * 4 // 8)
    assert packed.compression == pytest.approx(512 / 320)
    assert "8:16-T" in repr(packed)


def test_compression_of_an_empty_array():
    assert ms.pack(np.ones((0, 4)), np.ones((0, 4), bool), "2:4").compression == 1.0


def test_dense_input_is_rejected():
    weights = np.ones((4, 8))
    with pytest.raises(ms.PatternViolationError, match=r"(?s)mask.*group 0 keeps 4, expected exactly 2"):
        ms.pack(weights, weights != 0, "2:4")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("1:2-T", "tile 1, column 0 keeps 2, expected exactly 1"),
        ("1:2-T at_most", "tile 1, column 0 keeps 2, expected at most 1"),
    ],
)
def test_a_mask_that_fails_in_one_orientation_only_is_rejected(pattern, message):
    mask = np.array([[1, 0, 1, 0], [0, 1, 1, 0]], bool)
    with pytest.raises(ms.PatternViolationError, match=message):
        ms.pack(np.ones((2, 4)), mask, pattern)


def test_deficient_groups_need_at_most():
    mask = np.array([[True, False, False, False]])
    with pytest.raises(ms.PatternViolationError, match="group 0 keeps 1, expected exactly 2"):
        ms.pack(np.ones((1, 4)), mask, "2:4")
    ms.pack(np.ones((1, 4)), mask, "2:4 at_most")


MASK = np.array([[True, True, False, False]])


@pytest.mark.parametrize(
    ("weights", "mask", "pattern", "error", "message"),
    [
        (np.ones((2, 4)), MASK, "2:4", ValueError, r"mask .*shape of weights \(2, 4\), got \(1, 4\)"),
        (np.ones((1, 4)), MASK.astype(int), "2:4", TypeError, "mask must be boolean.*int64"),
        (np.ones((1, 6)), np.ones((1, 6), bool), "2:4", ValueError, "6 entries.*m=4"),
        (np.ones(4), MASK[0], "2:4-T", ValueError, "weights must have .*axes for pattern .2:4-T. \\(shape"),
        (np.array([["a"] * 4]), MASK, "2:4", TypeError, "weights must hold numbers, got dtype <U1"),
        (np.array([[object()] * 4]), MASK, "2:4", TypeError, "weights must hold numbers, got dtype object"),
        (np.zeros((1, 4), "M8[s]"), MASK, "2:4", TypeError, "weights must hold numbers, got.*datetime"),
        (np.ma.ones((1, 4)), MASK, "2:4", TypeError, "weights .*got MaskedArray"),
        ([[1, 2], [3]], MASK, "2:4", ValueError, "weights must be rectangular"),
        (5.0, MASK, "2:4", TypeError, "weights .*got float"),
        (np.ones((1, 4)), MASK, "4:2", ValueError, "n must be between"),
    ],
)
def test_bad_input(weights, mask, pattern, error, message):
    with pytest.raises(error, match=message):
        ms.pack(weights, mask, pattern)


def test_bad_unpack():
    packed = ms.pack(np.ones((1, 4)), MASK, "2:4")
    with pytest.raises(TypeError, match="packed must be a Packed or a PackedTiles, got ndarray"):
        ms.unpack(np.ones(4))
    with pytest.raises(ValueError, match="side must be"):
        ms.unpack(packed, side="diagonal")
    with pytest.raises(ValueError, match="side='columns' needs a transposable pattern, got '2:4'"):
        ms.unpack(packed, side="columns")


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def as_torch(torch, array):
    """The same bits; torch's ``from_numpy`` does not know ml_dtypes."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


@pytest.mark.parametrize("shape", [(32, 64), (64, 128), (96, 192), (128, 64)], ids=str)
@pytest.mark.parametrize(
    ("pattern", "dtype"),
    [
        ("2:4", np.float16),
        ("2:4", ml_dtypes.bfloat16),
        ("2:4", np.int8),
        ("1:2", np.float32),
        ("2:4 at_most", np.float16),
        ("2:4 at_most", np.int8),
        ("1:2 at_most", np.float32),
    ],
    ids=str,
)
def test_hardware_layout_is_that_of_cutlass(torch, pattern, dtype, shape):
    conversions = pytest.importorskip("torch.sparse._semi_structured_conversions")
    rng = np.random.default_rng(11)
    weights = rng.integers(1, 100, shape).astype(dtype)
    mask = random_mask(rng, shape, pattern)
    side = ms.pack(weights, mask, pattern).rows
    dense = as_torch(torch, expected(weights, mask))
    values, metadata = conversions.sparse_semi_structured_from_dense_cutlass(dense)
    assert torch.equal(as_torch(torch, side.values), values)
    ours = cutlass_metadata(side)
    assert torch.equal(torch.from_numpy(ours), metadata)
    back = conversions.sparse_semi_structured_to_dense_cutlass(values, torch.from_numpy(ours))
    assert torch.equal(back, dense)


def test_hardware_layout_of_the_transpose(torch):
    conversions = pytest.importorskip("torch.sparse._semi_structured_conversions")
    rng = np.random.default_rng(12)
    weights = rng.standard_normal((64, 64)).astype(np.float16)
    mask = random_mask(rng, (64, 64), "2:4-T")
    side = ms.pack(weights, mask, "2:4-T").columns
    values, metadata = conversions.sparse_semi_structured_from_dense_cutlass(
        torch.from_numpy(np.ascontiguousarray(expected(weights, mask).T))
    )
    assert torch.equal(torch.from_numpy(side.values), values)
    assert torch.equal(torch.from_numpy(cutlass_metadata(side)), metadata)


def test_hardware_layout_of_an_empty_matrix():
    side = ms.pack(np.ones((0, 64), np.float16), np.ones((0, 64), bool), "2:4").rows
    assert cutlass_metadata(side).shape == (0, 4)


@pytest.mark.parametrize(
    ("pattern", "dtype", "shape", "message"),
    [
        ("4:8", np.float16, (32, 64), "got 4:8 with 16-bit weights"),
        ("2:4", np.float32, (32, 64), "got 2:4 with 32-bit weights"),
        ("2:4", np.float16, (16, 64), "multiple of 32 rows and of 32 dense columns"),
        ("2:4", np.int8, (16, 32), "multiple of 16 rows and of 64 dense columns"),
        ("2:4", np.float16, (1, 32, 64), "must be a matrix"),
    ],
)
def test_hardware_layout_refuses_what_does_not_fit(pattern, dtype, shape, message):
    mask = random_mask(np.random.default_rng(0), shape, pattern)
    side = ms.pack(np.ones(shape, dtype), mask, pattern).rows
    with pytest.raises(ValueError, match=message):
        cutlass_metadata(side)
