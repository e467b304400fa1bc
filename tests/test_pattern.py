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


@pytest.mark.parametrize(
    "text",
    [
        "2:4 x 4:8",
        "2:4 x 6:8 at_most",
        "4:8 pair",
        "4:8-T pair",
        "2:4 x 4:8 pair at_most pad",
        "4:8 pair axis=0",
    ],
)
def test_budgets_and_pairs_in_words(text):
    parsed = Pattern.parse(text)
    assert str(parsed) == text
    assert eval(repr(parsed).partition(",")[0] + ")", {"Pattern": Pattern}) == parsed
    assert pickle.loads(pickle.dumps(parsed)) == parsed
    assert dataclasses.replace(parsed, remainder=parsed.remainder) == parsed


def test_square_patterns_are_mixed_ones_with_equal_budgets():
    square = Pattern(4, 8, transposable=True)
    assert Pattern(4, 8, columns=(4, 8)) == Pattern("4:8 x 4:8") == square
    assert square.columns is None
    assert square.is_square
    assert (
        Pattern("2:4 x 4:8")
        == Pattern(2, 4, columns=(4, 8))
        == Pattern(2, 4, transposable=True, columns=(4, 8))
    )
    assert not Pattern("2:4 x 4:8").is_square
    assert Pattern("2:4 x 4:8").tile_shape == (8, 4)
    assert Pattern("4:8-T pair").lines == (4, 4)
    assert Pattern("2:4 axis=0").budgets == {0: (2, 4)}


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (
            (2, 4),
            {"columns": (6, 8)},
            ValueError,
            "got 2:4 in rows and 6:8 in columns; use",
        ),
        ((2, 4), {"columns": (9, 8)}, ValueError, "the columns' n must be between 1 and m=8"),
        ((2, 4), {"columns": (1, 99)}, ValueError, "the columns' m must be between 1 and 64"),
        ((2, 4), {"columns": 8}, TypeError, r"columns must be a pair \(n, m\)"),
        ((2, 4), {"columns": (1.0, 2)}, TypeError, "the columns' n must be an integer"),
        ((2, 4), {"columns": (4, 8), "axis": 0}, ValueError, "axis belongs to one-directional patterns"),
        ((2, 5), {"pair": True}, ValueError, "n and m must be even for pairs, got 2:5"),
        ((2, 4), {"pair": 1}, TypeError, "pair must be"),
    ],
)
def test_bad_budgets_and_pairs(arguments, options, error, message):
    with pytest.raises(error, match=message):
        Pattern(*arguments, **options)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2/4 by 4/8", "2:4 x 4:8"),
        ("2:4x4:8 atmost", "2:4 x 4:8 at_most"),
        ("4:2 x 4:8", "2:4 x 4:8"),
        ("4:8 t pairs", "4:8-T pair"),
        ("4:8 paired", "4:8 pair"),
    ],
)
def test_hints_for_budgets_and_pairs(text, meant):
    with pytest.raises(ValueError, match=f"did you mean '{meant}'"):
        Pattern.parse(text)


def test_misfits_name_the_budget_that_does_not_divide():
    assert "which m=8 does not divide" in str(Pattern("2:4 x 4:8").misfit((4, 4)))
    assert "which m=4 does not divide" in str(Pattern("2:4 x 4:8").misfit((8, 6)))
    assert "are no pairs" in str(Pattern("4:8 pair pad").misfit((4, 7)))
    assert Pattern("4:8 pair dense").misfit((4, 7)) is None
