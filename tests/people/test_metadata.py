"""Positions as bits: checked bit by bit against Python's integers, against torch's layout, and back again."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import masksolve as ms
from masksolve.hardware import cutlass_metadata, metadata, positions
from masksolve.packing import Compressed
from masksolve.packing.metadata import Metadata

ENCODINGS = ["positions", "bitmap", "rank"]


def random_side(n: int, m: int, shape: tuple[int, ...] = (3, 5), seed: int = 0) -> Compressed:
    """Positions of random groups, one shape entry a group."""
    order = np.random.default_rng(seed).random((*shape, m)).argsort(axis=-1)
    indices = np.sort(order[..., :n], axis=-1).astype(np.uint8).reshape(*shape[:-1], shape[-1] * n)
    return Compressed(np.ones(indices.shape, np.float32), indices, n, m)


def field(held: list[int], m: int, encoding: str) -> tuple[int, int]:
    """A group's bits as an integer, and their number."""
    if encoding == "bitmap":
        return sum(1 << each for each in held), m
    if encoding == "rank":
        rank = sum(math.comb(each, i) for i, each in enumerate(held, 1))
        return rank, (math.comb(m, len(held)) - 1).bit_length()
    width = (m - 1).bit_length()
    return sum(each << (i * width) for i, each in enumerate(held)), width * len(held)


def row_bytes(indices: list[int], n: int, m: int, encoding: str, align: int) -> bytes:
    """A row's stream, with integers of any size."""
    number = place = 0
    for first in range(0, len(indices), n):
        value, width = field(indices[first : first + n], m, encoding)
        number |= value << place
        place += width
    return number.to_bytes(-(-place // align) * align // 8, "little")


@given(st.data(), st.sampled_from(ENCODINGS), st.sampled_from([8, 16, 32, 128]))
def test_bit_by_bit_and_back(data: st.DataObject, encoding: str, align: int) -> None:
    m = data.draw(st.integers(1, 64))
    n = data.draw(st.integers(1, m))
    side = random_side(n, m, (2, data.draw(st.integers(0, 6))), data.draw(st.integers(0, 99)))
    stream = metadata(side, encoding, align=align)
    for row, bits in zip(side.indices.tolist(), stream.data, strict=True):
        assert bits.tobytes() == row_bytes(row, n, m, encoding, align)
    assert np.array_equal(positions(stream), side.indices)


@pytest.mark.parametrize("n", [1, 16, 32, 63, 64])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_widest_groups(n: int, encoding: str) -> None:
    for held in (range(n), range(64 - n, 64)):
        indices = np.array([list(held)], np.uint8)
        stream = metadata(Compressed(np.ones((1, n)), indices, n, 64), encoding)
        assert stream.data.tobytes() == row_bytes(indices[0].tolist(), n, 64, encoding, 8)
        assert np.array_equal(positions(stream), indices)


@pytest.mark.parametrize(("n", "m"), [(1, 4), (2, 4), (3, 6), (4, 8)])
def test_ranks_number_all_groups(n: int, m: int) -> None:
    groups = np.array(list(itertools.combinations(range(m), n)), np.uint8)
    stream = metadata(Compressed(np.ones(groups.shape), groups, n, m), "rank")
    assert sorted(stream.data[:, 0].tolist()) == list(range(math.comb(m, n)))
    assert stream.field_bits == (math.comb(m, n) - 1).bit_length()


def test_rows_of_two_to_four_are_the_words_of_tensor_cores() -> None:
    """CUTLASS's words are these, spread over rows: within one column of words the set is the same."""
    side = random_side(2, 4, (32, 8))
    half = Compressed(side.values.astype(np.float16), side.indices, 2, 4)
    words = metadata(half).data.view("<i2")
    assert sorted(words.reshape(-1).tolist()) == sorted(cutlass_metadata(half).reshape(-1).tolist())


@pytest.mark.parametrize("pattern", ["2:4", "3:5 axis=0 pad", "4:8-T", "1:4-T at_most"])
def test_streams_of_packed_matrices(pattern: str) -> None:
    weights = np.random.default_rng(2).standard_normal((2, 16, 16))
    packed = ms.pack(weights, ms.solve(weights, pattern, backend="highs").mask, pattern)
    for side in filter(None, (packed.rows, packed.columns)):
        for encoding in ENCODINGS:
            assert np.array_equal(positions(metadata(side, encoding)), side.indices)


def test_bad_input() -> None:
    side = random_side(2, 4)
    with pytest.raises(ValueError, match=r"encoding must be one of .*; did you mean 'bitmap'\?"):
        metadata(side, "bitmask")
    with pytest.raises(ValueError, match="align must be a multiple of 8, got 12"):
        metadata(side, align=12)
    with pytest.raises(TypeError, match="side must be the rows or columns of a Packed, got int"):
        metadata(3)
    with pytest.raises(TypeError, match="stream must be a Metadata, got int"):
        positions(3)
    noise = np.full((1, 4), 0xFF, np.uint8)
    for encoding, n, m, words in [
        ("positions", 2, 4, "ascending positions below 4"),
        ("bitmap", 2, 4, "mark 2 of 4"),
        ("rank", 2, 4, "ranks below 6"),
    ]:
        with pytest.raises(ValueError, match=words):
            positions(Metadata(noise, encoding, n, m, 4))
