"""Patterns that are refused, made or read from text."""

from collections.abc import Callable

from bad_input import TILE, Case, assert_refused, pattern, solve, table

NAN, INF = float("nan"), float("inf")


PATTERNS: dict[str, Case] = {
    "n-above-m": (pattern(5, 4), ValueError, r"n must be between 1 and m=4 .*, got n=5"),
    "n-negative": (pattern(-1, 4), ValueError, r"n must be between 1 and m=4 .*, got n=-1"),
    "n-zero": (pattern(0, 4), ValueError, r"n must be between 1 and m=4 .*, got n=0"),
    "m-zero": (pattern(0, 0), ValueError, r"m must be between 1 and 64 .*, got m=0"),
    "m-negative": (pattern(1, -4), ValueError, r"m must be between 1 and 64 .*, got m=-4"),
    "m-large": (pattern(2, 65), ValueError, r"m must be between 1 and 64 .*, got m=65"),
    "n-float": (pattern(2.0, 4), TypeError, r"n must be an integer, got 2.0"),
    "m-text": (pattern(2, "4"), TypeError, r"m must be an integer, got '4'"),
    "n-bool": (pattern(True, 4), TypeError, r"n must be an integer, got True"),
    "axis-none": (pattern(2, 4, axis=None), TypeError, r"axis must be an integer, got None"),
    "axis-transposable": (pattern(2, 4, transposable=True, axis=0), ValueError, r"axis .* got axis=0"),
    "transposable-int": (
        pattern(2, 4, transposable=1),
        TypeError,
        r"transposable must be True or False, got 1",
    ),
    "constraint": (
        pattern(2, 4, constraint="at least"),
        ValueError,
        r"constraint must be one of 'exact', 'at_most'; got 'at least'",
    ),
    "constraint-type": (pattern(2, 4, constraint=None), TypeError, r"constraint must be one of .* got None"),
    "remainder": (
        pattern(2, 4, remainder="crop"),
        ValueError,
        r"remainder must be one of 'error', 'pad', 'dense'; got 'crop'",
    ),
    "remainder-type": (pattern(2, 4, remainder=["pad"]), TypeError, r"remainder must be .* got \['pad'\]"),
    "type": (solve(TILE, {2, 4}), TypeError, r"pattern must be a Pattern or a string .*, got set"),
    "number": (solve(TILE, 2.4), TypeError, r"pattern must be a Pattern or a string .*, got float"),
    "bytes": (solve(TILE, b"2:4"), TypeError, r"pattern must be a Pattern or a string .*, got bytes"),
    "text-n-above-m": (solve(TILE, "5:4-T"), ValueError, r"n must be between 1 and m=4 .*, got n=5"),
    "text-zero": (solve(TILE, "0:0"), ValueError, r"m must be between 1 and 64 .*, got m=0"),
    "text-axis-transposable": (solve(TILE, "2:4-T axis=0"), ValueError, r"axis .* got axis=0"),
    **{
        f"text-{text!r}": (
            solve(TILE, text),
            ValueError,
            r"pattern must look like '2:4', '4:8-T', '2:4 x 4:8' or '64:2:8'.*; got ['\"]",
        )
        for text in [
            "",
            " ",
            "4",
            "2:",
            ":4",
            "a:b",
            "2:4:8:2",
            "-2:4",
            "+2:4",
            "2.0:4",
            "0x2:4",
            "2 : 4",
            "2/4",
            "2,4",
            " 2:4",
            "2:4 ",
            "2:4\n",
            "2:4\t-T",
            "2:4  pad",
            "2:4-t",
            "2:4T",
            "2:4-T-T",
            "T-2:4",
            "2:4-Tpad",
            "2:4 pad pad",
            "2:4 pad dense",
            "2:4 at_most at_most",
            "2:4 axis=0 axis=0",
            "2:4 axis=",
            "2:4 axis=x",
            "2:4 axis=1.0",
            "2:4 exact!",
            "2:4 PAD",
            "2:4 unknown",
            "9999:4",
            "2:4\0",
            "٢:٤",
            "２:４",
            "²:4",
            "2:4 axis=٢",
        ]
    },
}


@table(pattern=PATTERNS)
def test_bad_patterns(call: Callable[[], object], error: type[Exception], message: str) -> None:
    assert_refused(call, error, message)
