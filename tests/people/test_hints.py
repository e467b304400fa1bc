"""What a newcomer writes first, and what the error says to do instead."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import masksolve as ms

TILE = np.ones((8, 8))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2:4T", "2:4-T"),
        ("2:4t", "2:4-T"),
        ("4:8t", "4:8-T"),
        ("4:8-t", "4:8-T"),
        ("4:8 transposable", "4:8-T"),
        ("4:2", "2:4"),
        ("8:4-T pad", "4:8-T pad"),
        ("2/4", "2:4"),
        ("2 of 4", "2:4"),
        ("2:4 ", "2:4"),
        ("4:8-T at-most", "4:8-T at_most"),
        ("4:8-T at most pad", "4:8-T at_most pad"),
        ("2:4 padd axis=0", "2:4 pad axis=0"),
        ("4:8 pairs", "4:8 pair"),
        ("4:8pair", "4:8 pair"),
        ("4:8-T pairs", "4:8-T pair"),
        ("4:8pair-T", "4:8-T pair"),
        ("4:8 pair-T", "4:8-T pair"),
        ("2:4x4:8", "2:4 x 4:8"),
        ("2:4 \N{MULTIPLICATION SIGN} 4:8", "2:4 x 4:8"),
        ("2:4x6:8", "2:4 x 6:8 at_most"),
        ("2:4 x 6:8 atmost", "2:4 x 6:8 at_most"),
        ("64:2:8 atmost", "64:2:8 at_most"),
        ("transposable 2:4", "2:4-T"),
        ("at_most 2:4", "2:4 at_most"),
        ("4:8-T exact", "4:8-T"),
        ("2:4 axis 0", "2:4 axis=0"),
        ("2\N{FULLWIDTH COLON}4", "2:4"),
        ("\N{SUPERSCRIPT TWO}:4", "2:4"),
        ("2:4\N{MODIFIER LETTER CAPITAL T}", "2:4-T"),
        ("24", "2:4"),
        ("48-T", "4:8-T"),
        ("816t pad", "8:16-T pad"),
        ("2of4", "2:4"),
        ("2 4", "2:4"),
        ("2.4", "2:4"),
        ("2,4;", "2:4"),
        ("'2:4'", "2:4"),
        ("2:4:", "2:4"),
        ("2:4 T", "2:4-T"),
        ("2:4_T", "2:4-T"),
        ("2:4-TT", "2:4-T"),
        ("2:4^T", "2:4-T"),
        ("T2:4", "2:4-T"),
        ("2:4 pad T", "2:4-T pad"),
        ("2:4 pad pad", "2:4 pad"),
        ("4:8-T-pair", "4:8-T pair"),
        ("2:4 transp", "2:4-T"),
        ("2:4sparse", "2:4"),
        ("semi-structured 2:4", "2:4"),
        ("2:4 columns", "2:4 axis=-2"),
        ("2:4 dim=0", "2:4 axis=0"),
        ("2:4x4:8-T", "2:4 x 4:8"),
    ],
)
@pytest.mark.parametrize("read", [ms.Pattern, ms.Pattern.parse, lambda text: ms.solve(TILE, text)])
def test_patterns(read, text: str, meant: str) -> None:
    with pytest.raises(ValueError, match="did you mean") as caught:
        read(text)
    assert str(caught.value).endswith(f"; did you mean {meant!r}?")
    ms.Pattern(meant)


@pytest.mark.parametrize(
    "text",
    [
        *("", "sparse", "2:4 x", "0:4x", "2:4-X", "2:4 axis=x", "2:4 pad dense.", "2:4-T axis 1"),
        *("50%", "75%", "0.5", "60", "1:2:4:8", "64:2:8 T", "v64:2:8", "N:M", "mixed"),
    ],
)
def test_no_guess_where_nothing_is_near(text: str) -> None:
    with pytest.raises(ValueError, match="pattern must look like") as caught:
        ms.Pattern(text)
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("text", ["64:2:8-T", "64:2:8 pair"])
def test_what_does_not_go_together_with_columns_for_many_rows(text: str) -> None:
    with pytest.raises(ValueError, match=f"pair and axis must be left alone, got '{text}'"):
        ms.Pattern(text)


def test_a_pattern_by_one_string_or_pair() -> None:
    assert ms.Pattern("2:4-T") == ms.Pattern.parse("2:4-T") == ms.Pattern(2, 4, transposable=True)
    assert hash(ms.Pattern("2:4-T")) == hash(ms.Pattern(2, 4, transposable=True))
    assert ms.Pattern.parse((2, 4)) == ms.Pattern(2, 4)
    assert ms.solve(TILE, (4, 8), backend="highs").pattern == ms.verify(TILE, (4, 8)).pattern
    with pytest.raises(TypeError, match=r"takes no other argument; write them in the text '2:4'"):
        ms.Pattern("2:4", transposable=True)
    with pytest.raises(ValueError, match=r"got n=4; to keep 2 of 4, write n=2, m=4"):
        ms.Pattern(4, 2)
    with pytest.raises(TypeError, match=r"m must be an integer, got None"):
        ms.Pattern(4)


def test_names_of_backends_options_and_choices() -> None:
    with pytest.raises(ValueError, match=r"got 'gredy'; did you mean 'greedy'\?"):
        ms.solve(TILE, "4:8", backend="gredy")
    with pytest.raises(TypeError, match=r"no option 'bakend'.*did you mean 'backend'\?"):
        ms.solve(TILE, "4:8", bakend="greedy")
    with pytest.raises(TypeError, match=r"no option 'scores_'.*did you mean 'score'\?"):
        ms.solve(TILE, "4:8", scores_="magnitude")
    with pytest.raises(TypeError, match=r"no option 'itertions'.*did you mean 'iterations'\?"):
        ms.solve(TILE, "4:8-T", backend="entropic", itertions=3)
    with pytest.raises(ValueError, match=r"got 'HiGHS'; did you mean 'highs'\?"):
        ms.solve(TILE, "4:8", backend="HiGHS")
    with pytest.raises(TypeError, match=r"no option 'tau'.*; it is an option of 'entropic'$"):
        ms.solve(TILE, "4:8", tau=40.0)
    with pytest.raises(
        TypeError, match=r"no option 'axis'.*; axis belongs to the pattern, as in '2:4 axis=0'$"
    ):
        ms.solve(TILE, "4:8", axis=0)
    with pytest.raises(ValueError, match=r"score must be one of .*; did you mean 'magnitude'\?"):
        ms.solve(TILE, "4:8", score="magntude")
    for option, meant in (("threads", "workers"), ("timeout", "time_limit"), ("abs", "score")):
        with pytest.raises(TypeError, match=rf"no option '{option}'.*; did you mean '{meant}'\?$"):
            ms.solve(TILE, "4:8", **{option: 1})
    for option in ("density", "sparsity", "dim", "pad", "n"):
        with pytest.raises(TypeError, match=rf"; {option} belongs to the pattern, as in '\d:\d.*'$"):
            ms.solve(TILE, "4:8", **{option: 1})
    with pytest.raises(ValueError, match=r"constraint must be one of .*; did you mean 'at_most'\?"):
        ms.Pattern(2, 4, constraint="atmost")


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ("scipy", "highs"),
        ("gurobi", "highs"),
        ("highspy", "highs"),
        ("cpsat", "ortools"),
        ("OR-tools", "ortools"),
        ("tsenor", "entropic"),
        ("Sinkhorn", "entropic"),
        ("2approx", "cover"),
        ("bruteforce", "enumerate"),
        ("cuda", "auto"),
        ("numpy", "exact"),
    ],
)
def test_what_other_tools_call_a_backend(named: str, meant: str) -> None:
    with pytest.raises(ValueError, match=rf"got '{named}'; did you mean '{meant}'\?$"):
        ms.solve(TILE, "4:8", backend=named)
    assert meant == "auto" or meant in {info.name for info in ms.backends()}


@pytest.mark.parametrize(
    ("named", "meant"), [("abs", "magnitude"), ("l2", "square"), ("squared", "square"), ("raw", "value")]
)
def test_what_other_tools_call_a_score(named: str, meant: str) -> None:
    with pytest.raises(ValueError, match=rf"got '{named}'; did you mean '{meant}'\?$"):
        ms.solve(TILE, "4:8", score=named)
    with pytest.raises(ValueError, match=rf"got '{named}'; did you mean '{meant}'\?$"):
        ms.permutation.search(TILE, "4:8", score=named)


class Table:
    """What tables of pandas and polars have in common."""

    def to_numpy(self) -> np.ndarray:
        return TILE


class Module:
    """What modules of torch are known by."""

    def state_dict(self) -> dict:
        return {}


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ("weights.npy", r"got str; read the file first, with numpy.load"),
        (Path("weights.npy"), r"Path; read the file first, with numpy.load"),
        (Table(), r"got Table; pass its to_numpy\(\)"),
        (Module(), r"got Module; pass the weight of a layer"),
        (ms.solve(TILE, "4:8", backend="highs"), r"got MaskResult; pass its mask"),
        ({"w": TILE}, r"got dict; convert it with numpy.asarray"),
    ],
)
def test_what_is_no_array(value: object, remedy: str) -> None:
    with pytest.raises(TypeError, match=f"^scores must be an array .*{remedy}"):
        ms.solve(value, "4:8")
    with pytest.raises(TypeError, match=f"^mask must be an array .*{remedy}"):
        ms.verify(value, "4:8")


def weights(shape: tuple[int, ...] = (64, 64), dtype: str = "float32", offset: float = 0.0) -> np.ndarray:
    return ((np.random.default_rng(0).standard_normal(shape) + offset) * 50).astype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32"])
@pytest.mark.parametrize("shape", [(64, 64), (4096,), (3, 3, 8, 16), (2, 2, 2, 2, 2, 2, 8)])
def test_raw_weights_are_noticed(dtype: str, shape: tuple[int, ...]) -> None:
    with pytest.warns(
        ms.SignedScoresWarning, match=r"look like raw weights: \d+% .*score='magnitude'"
    ) as caught:
        result = ms.solve(weights(shape, dtype), "2:4")
    assert len(caught) == 1
    assert caught[0].filename == __file__  # it points at the caller
    assert abs(result.stats["negative_share"] - 0.5) <= 0.1


@pytest.mark.parametrize(
    "call",
    [
        lambda: ms.permutation.search(weights(), "2:4"),
        lambda: ms.allocate({"layer": weights()}, "4:8", sparsity=0.5),
        lambda: ms.dense_tiles({"layer": weights()}, "2:4", share=0.3, tile=16),
    ],
    ids=["search", "allocate", "dense_tiles"],
)
def test_the_warning_is_about_the_line_that_calls_the_library(call: Callable[[], object]) -> None:
    with pytest.warns(ms.SignedScoresWarning) as caught:
        call()
    assert {each.filename for each in caught} == {__file__}


def test_layout_in_memory_does_not_matter() -> None:
    for view in (weights().T, weights((64, 128))[:, ::2], weights()[::-1], np.asfortranarray(weights())):
        with pytest.warns(ms.SignedScoresWarning):
            ms.solve(view, "2:4")


@pytest.mark.parametrize(
    "scores",
    [
        abs(weights()),
        -abs(weights()),
        weights(offset=1.0),
        weights(dtype="uint8"),
        weights() > 0,
        weights((4, 8)),
        np.zeros((0, 4)),
        np.zeros((64, 64)),
    ],
    ids=["positive", "negative", "shifted", "unsigned", "bool", "small", "empty", "zero"],
)
def test_other_scores_are_not(scores: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "negative_share" not in ms.solve(scores, "2:4").stats


@pytest.mark.parametrize("score", ["magnitude", "square"])
def test_who_says_what_weights_are_worth_is_not_warned(score: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "negative_share" not in ms.solve(weights(), "2:4", backend="enumerate", score=score).stats


def test_the_warning_can_be_silenced() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ms.SignedScoresWarning)
        assert 0.4 < ms.solve(weights(), "2:4").stats["negative_share"] < 0.6


def test_completion_shows_public_names_only() -> None:
    assert sorted(dir(ms)) == sorted(ms.__all__)
    for internal in ("solve_", "find_spec", "checks", "certifying", "execution", "annotations"):
        assert internal not in dir(ms)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([2, 4], "2:4"),
        (("2", "4"), "2:4"),
        ((2, 4, True), "2:4-T"),
        ((2, 4, "T"), "2:4-T"),
        ([4, 8, False], "4:8"),
    ],
)
def test_lists_and_triples_are_no_patterns_but_their_text_is_named(given: Any, meant: str) -> None:
    with pytest.raises(TypeError, match=f"did you mean '{meant}'\\?"):
        ms.solve(np.ones((8, 8)), given)


def test_exchanged_arguments_are_noticed() -> None:
    for call in (ms.solve, ms.verify):
        with pytest.raises(TypeError, match="the array comes first, then the pattern"):
            call("2:4-T", np.ones((8, 8)))  # type: ignore[call-overload,arg-type,unused-ignore]
