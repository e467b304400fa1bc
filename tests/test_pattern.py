"""The pattern: text and back, words, immutability."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masksolve import Pattern


@st.composite
def any_pattern(draw: st.DrawFn) -> Pattern:
    m = draw(st.integers(1, 64))
    transposable = draw(st.booleans())
    return Pattern(
        draw(st.integers(1, m)),
        m,
        transposable=transposable,
        constraint=draw(st.sampled_from(["exact", "at_most"])),
        axis=-1 if transposable else draw(st.integers(-64, 63)),
        remainder=draw(st.sampled_from(["error", "pad", "dense"])),
    )


@given(any_pattern())
def test_text_and_back(pattern: Pattern) -> None:
    assert Pattern.parse(str(pattern)) == pattern
    assert hash(Pattern.parse(str(pattern))) == hash(pattern)


@given(any_pattern(), any_pattern())
def test_equal_text_means_equal_pattern(one: Pattern, other: Pattern) -> None:
    assert (str(one) == str(other)) == (one == other)


@given(any_pattern())
def test_copies_and_pickles_are_equal(pattern: Pattern) -> None:
    assert copy.deepcopy(pattern) == pattern
    assert pickle.loads(pickle.dumps(pattern)) == pattern
    assert dataclasses.replace(pattern) == pattern


@given(st.text(max_size=12) | st.from_regex(r"\d{1,3}:\d{1,3}(-T)?( (pad|dense|at_most|axis=-?\d)){0,3}\s?"))
def test_any_text_parses_or_is_refused_by_name(text: str) -> None:
    refusal = ""
    try:
        assert Pattern.parse(str(Pattern.parse(text))) == Pattern.parse(text)
    except ValueError as error:
        refusal = str(error)
    assert not refusal or refusal.startswith(("pattern must look", "m must be", "n must be", "axis belongs"))


def test_a_pattern_parses_to_itself() -> None:
    pattern = Pattern(4, 8, transposable=True)
    assert Pattern.parse(pattern) is pattern


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2:4", Pattern(2, 4)),
        ("4:8-T", Pattern(4, 8, transposable=True)),
        ("2:4 pad at_most axis=0", Pattern(2, 4, constraint="at_most", axis=0, remainder="pad")),
        ("1:64 dense axis=-3", Pattern(1, 64, axis=-3, remainder="dense")),
    ],
)
def test_parse(text: str, expected: Pattern) -> None:
    assert Pattern.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2:4", "Pattern('2:4', keep 2 of 4, 50% zeros)"),
        ("1:4", "Pattern('1:4', keep 1 of 4, 75% zeros)"),
        ("3:4", "Pattern('3:4', keep 3 of 4, 25% zeros)"),
        ("3:7-T pad", "Pattern('3:7-T pad', keep 3 of 7 in rows and columns, 57.14% zeros)"),
        ("4:8-T at_most",
         "Pattern('4:8-T at_most', keep at most 4 of 8 in rows and columns, at least 50% zeros)"),
    ],
)  # fmt: skip
def test_repr_says_in_words_what_is_kept(text: str, words: str) -> None:
    assert repr(Pattern.parse(text)) == words


def test_immutable() -> None:
    pattern = Pattern(2, 4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        pattern.n = 3  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del pattern.m


def test_keyword_only_beyond_n_and_m() -> None:
    with pytest.raises(TypeError):
        Pattern(2, 4, True)  # type: ignore[misc]


def test_numpy_integers_become_plain_ones() -> None:
    pattern = Pattern(np.int8(2), np.uint64(4), axis=np.intp(0))
    assert [type(value) for value in (pattern.n, pattern.m, pattern.axis)] == [int, int, int]
    assert pattern == Pattern(2, 4, axis=0)


def test_density() -> None:
    assert Pattern(3, 4).density == 0.75
