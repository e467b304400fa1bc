"""Bad input: one clear error that names the argument, the value and what was expected."""

from collections.abc import Callable
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import masksolve as ms
from masksolve import Pattern

NAN, INF = float("nan"), float("inf")
TILE = np.arange(16.0).reshape(4, 4)
NONE = np.zeros((4, 4), np.bool_)
ONE = NONE.copy()
ONE[1, 2] = True
OVER_32_BITS = (1 << 17, 1 << 16)
SOLVED = ms.solve(TILE, "2:4-T")


Case = tuple[Callable[[], object], type[Exception], str]
"""A call, the error that it must raise, and a regular expression that the message must match."""


def solve(scores: Any = TILE, pattern: Any = "2:4-T", **options: Any) -> Callable[[], object]:
    return partial(ms.solve, scores, pattern, **options)


def verify(mask: Any, pattern: Any = "2:4") -> Callable[[], object]:
    return partial(ms.verify, mask, pattern)


pattern = partial(partial, Pattern)


def planted(value: float, dtype: Any = np.float64, shape: tuple[int, ...] = (3, 4, 4)) -> Any:
    """Ones with ``value`` at index [2, 1, 3] (the first of two)."""
    scores = np.ones(shape, dtype)
    scores[2, 1, 3] = scores[2, 3, 0] = value
    return scores


NOT_FINITE: dict[str, Case] = {
    f"{value}-{np.dtype(dtype).name}": (
        solve(planted(value, dtype)),
        ValueError,
        rf"scores must be finite, got {value} at index \[2, 1, 3\]$",
    )
    for value in (NAN, INF, -INF)
    for dtype in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)
}

SCORES: dict[str, Case] = {
    "infinite-fortran": (
        solve(np.asfortranarray(planted(INF))),
        ValueError,
        r"scores must be finite, got inf at index \[2, 1, 3\]",
    ),
    "nan-big-endian": (
        solve(planted(NAN, ">f4")),
        ValueError,
        r"scores must be finite, got nan at index \[2, 1, 3\]",
    ),
    "nan-list": (solve([[1.0, NAN]], "1:2"), ValueError, r"scores must be finite, got nan at index \[0, 1\]"),
    "nan-in-dense-tail": (
        solve([[1.0, 2.0, NAN]], "1:2 dense"),
        ValueError,
        r"scores must be finite, got nan at index \[0, 2\]",
    ),
    "signalling-nan": (
        solve(np.full((4, 4), 0x7F81, np.uint16).view(ml_dtypes.bfloat16)),
        ValueError,
        r"scores must be finite, got nan at index \[0, 0\]",
    ),
    "beyond-float64": (
        solve(np.full((4, 4), 1e300)),
        ValueError,
        r"scores must be small enough .* magnitude 1e\+300 in 16 entries",
    ),
    "scalar": (solve(1.0), TypeError, r"scores must be an array or nested lists, got float"),
    "none": (solve(None), TypeError, r"scores must be an array or nested lists, got NoneType"),
    "set": (solve({1.0, 2.0}), TypeError, r"scores must be an array or nested lists, got set"),
    "text": (solve("1234"), TypeError, r"scores must be an array or nested lists, got str"),
    "no-axes": (
        solve(np.array(1.0), "2:4"),
        ValueError,
        r"scores must have 1 to 61 axes for pattern '2:4', got shape \(\)",
    ),
    "one-axis": (
        solve(np.ones(4)),
        ValueError,
        r"scores must have 2 to 61 axes for pattern '2:4-T', got shape \(4,\)",
    ),
    "too-many-axes": (
        solve(np.ones((1,) * 60 + (4, 4))),
        ValueError,
        r"scores must have 2 to 61 axes .* got shape \(1, 1, ",
    ),
    "ragged": (solve([[1, 2], [3]]), ValueError, r"scores must be rectangular, got .* unequal length"),
    "masked": (
        solve(np.ma.masked_less(TILE, 3)),
        TypeError,
        r"scores must be a plain array, got a masked array",
    ),
    **{
        f"dtype-{name}": (
            solve(array),
            TypeError,
            rf"scores must hold real numbers \(.*float32.*\), got dtype {name}",
        )
        for name, array in {
            "complex64": TILE.astype(np.complex64),
            "complex128": TILE.astype(np.complex128),
            "object": TILE.astype(object),
            "<U32": TILE.astype(str),
            r"\|S32": TILE.astype(bytes),
            r"datetime64\[D\]": np.zeros((4, 4), "M8[D]"),
            r"timedelta64\[s\]": np.zeros((4, 4), "m8[s]"),
            r"\[\('x', '<f4'\)\]": np.zeros((4, 4), [("x", "<f4")]),
            r"\|V4": np.zeros((4, 4), "V4"),
            "float8_e4m3fn": TILE.astype(ml_dtypes.float8_e4m3fn),
            "float8_e5m2": TILE.astype(ml_dtypes.float8_e5m2),
        }.items()
    },
    "integers-beyond-64-bits": (solve([[1 << 70, 1]], "1:2"), TypeError, r"scores .* got dtype object"),
}
if np.dtype(np.longdouble).itemsize > 8:
    SCORES["dtype-longdouble"] = (
        solve(TILE.astype(np.longdouble)),
        TypeError,
        r"scores must hold real numbers .* got dtype (long|float)",
    )

SHAPES: dict[str, Case] = {
    "rows": (
        solve(np.ones((6, 8))),
        ValueError,
        r"scores has 6 entries along axis -2, which m=4 does not divide .*'pad'",
    ),
    "columns": (
        solve(np.ones((8, 6))),
        ValueError,
        r"scores has 6 entries along axis -1, which m=4 .*remainder='dense'",
    ),
    "along-axis": (
        solve(np.ones((6, 8)), "2:4 axis=0"),
        ValueError,
        r"6 entries along axis 0, which m=4 does not divide",
    ),
    "no-such-axis": (
        solve(TILE, "2:4 axis=2"),
        ValueError,
        r"pattern axis=2 does not exist in scores of shape \(4, 4\)",
    ),
    "no-such-negative-axis": (
        solve(TILE, "2:4 axis=-3"),
        ValueError,
        r"pattern axis=-3 does not exist in scores of shape \(4, 4\)",
    ),
    "over-32-bits": (
        solve(np.broadcast_to(np.float32(1), OVER_32_BITS), "2:5-T"),
        ValueError,
        r"scores has 131072 entries along axis -2, which m=5 does not",
    ),
    "mask-over-32-bits": (
        verify(np.broadcast_to(np.True_, OVER_32_BITS), "2:5-T"),
        ValueError,
        r"mask has 131072 entries along axis -2",
    ),
}

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
    "type": (solve(TILE, (2, 4, 8)), TypeError, r"pattern must be a Pattern or a string .*, got tuple"),
    "number": (solve(TILE, 2.4), TypeError, r"pattern must be a Pattern or a string .*, got float"),
    "bytes": (solve(TILE, b"2:4"), TypeError, r"pattern must be a Pattern or a string .*, got bytes"),
    "text-n-above-m": (solve(TILE, "5:4-T"), ValueError, r"n must be between 1 and m=4 .*, got n=5"),
    "text-zero": (solve(TILE, "0:0"), ValueError, r"m must be between 1 and 64 .*, got m=0"),
    "text-axis-transposable": (solve(TILE, "2:4-T axis=0"), ValueError, r"axis .* got axis=0"),
    **{
        f"text-{text!r}": (
            solve(TILE, text),
            ValueError,
            r"pattern must look like '2:4' or '4:8-T'.*; got ['\"]",
        )
        for text in [
            "",
            " ",
            "4",
            "2:",
            ":4",
            "a:b",
            "2:4:8",
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

FORCED: dict[str, Case] = {
    f"{name}-{title}": (solve(**{name: value}), error, f"^{name} must be {message}")
    for name in ("keep", "drop")
    for title, value, error, message in [
        ("integers", ONE.astype(np.int64), TypeError, "boolean .*, got dtype int64"),
        ("floats", ONE.astype(float), TypeError, "boolean .*, got dtype float64"),
        ("scalar", True, TypeError, "an array or nested lists, got bool"),
        ("masked", np.ma.array(ONE), TypeError, "a plain array, got a masked array"),
        ("ragged", [[True], [True, False]], ValueError, "rectangular"),
        ("shape", ONE[:3], ValueError, r"broadcastable to .* scores \(4, 4\), got shape \(3, 4\)"),
        ("batch", ONE[np.newaxis], ValueError, r"broadcastable to .* \(4, 4\), got shape \(1, 4, 4\)"),
    ]
} | {
    "overlap": (
        solve(keep=ONE, drop=ONE),
        ValueError,
        r"keep and drop must not both be True .* at index \[1, 2\]",
    ),
    "overlap-by-broadcasting": (
        solve(keep=ONE, drop=ONE[1]),
        ValueError,
        r"keep and drop must not both be True .* at index \[1, 2\]",
    ),
    "drop-in-dense-tail": (
        solve(np.ones((4, 5)), "2:4 dense", drop=np.arange(5) == 4),
        ValueError,
        r"drop must be False in the tail .* from entry 4 on along axis -1",
    ),
    "drop-in-dense-tail-rows": (
        solve(np.ones((5, 4)), "2:4-T dense", drop=np.arange(5)[:, np.newaxis] == 4),
        ValueError,
        r"drop must be False in the tail .* from entry 4 on along axis -2",
    ),
    "keep-too-many": (
        solve(keep=np.arange(4) < 3),
        ms.InfeasibleError,
        r"keep and drop .* tile 0.* (row|column) \d",
    ),
    "drop-too-many": (
        solve(drop=np.arange(4)[:, np.newaxis] < 3),
        ms.InfeasibleError,
        r"keep and drop .* tile 0.* (row|column) \d",
    ),
}

OPTIONS: dict[str, Case] = {
    "backend": (
        solve(backend="magic"),
        ValueError,
        r"backend must be one of .*'auto'.*'exact'.*, got 'magic'",
    ),
    "backend-none": (solve(backend=None), TypeError, r"backend must be a name, one of .*'exact'.*got None"),
    "backend-class": (solve(backend=int), TypeError, r"backend must be a name, .*got <class 'int'>"),
    "option": (solve(speed=11), TypeError, r"backend 'exact' has no option 'speed'; its options are \["),
    "option-of-another": (
        solve(backend="enumerate", tau=1.0),
        TypeError,
        r"backend 'enumerate' has no option 'tau'; its options are \[",
    ),
    "refused": (
        solve(np.ones((8, 8)), "4:8-T", backend="enumerate"),
        ms.BackendRefusedError,
        r"backend 'enumerate' .*4.*m=8.*backend='exact'",
    ),
    "workers-0": (solve(workers=0), ValueError, r"workers must be at least 1, or -1 .*; got 0"),
    "workers-2": (solve(workers=-2), ValueError, r"workers must be at least 1, or -1 .*; got -2"),
    "workers-float": (solve(workers=1.5), TypeError, r"workers must be an integer, got 1.5"),
    "workers-bool": (solve(workers=True), TypeError, r"workers must be an integer, got True"),
    "workers-none": (solve(workers=None), TypeError, r"workers must be an integer, got None"),
    "time-0": (solve(time_limit=0), ValueError, r"time_limit must be a positive number of seconds, got 0"),
    "time-1": (solve(time_limit=-1.0), ValueError, r"time_limit must be a positive .*, got -1.0"),
    "time-nan": (solve(time_limit=NAN), ValueError, r"time_limit must be a positive .*, got nan"),
    "time-text": (
        solve(time_limit="1"),
        TypeError,
        r"time_limit must be a number of seconds or None, got '1'",
    ),
    "time-bool": (solve(time_limit=True), TypeError, r"time_limit must be a number .*, got True"),
    "progress": (
        solve(progress=[]),
        TypeError,
        r"progress must be callable as progress\(done, total\), got \[\]",
    ),
    "duals": (solve(duals="yes"), TypeError, r"duals must be True, False or None, got 'yes'"),
    "duals-int": (solve(duals=1), TypeError, r"duals must be True, False or None, got 1"),
    "warm-start-type": (solve(warm_start=ONE), TypeError, r"warm_start must be a MaskResult, got ndarray"),
    "warm-start-shape": (
        solve(np.ones((8, 4)), warm_start=SOLVED),
        ValueError,
        r"warm_start must be a result for pattern '2:4-T' and shape \(8, 4\), got '2:4-T' and \(4, 4\)",
    ),
    "warm-start-pattern": (
        solve(pattern="1:4-T", warm_start=SOLVED),
        ValueError,
        r"warm_start must be a result for pattern '1:4-T' .*, got '2:4-T' and",
    ),
    "warm-start-without-duals": (
        solve(warm_start=ms.solve(TILE, "2:4-T", duals=False)),
        ValueError,
        r"warm_start must hold its dual prices; .*duals=True",
    ),
}

MASKS: dict[str, Case] = {
    "text": (
        verify(np.full((4, 4), "x")),
        TypeError,
        r"mask must hold booleans .* or numbers, got dtype <U1",
    ),
    "objects": (verify(np.full((4, 4), None)), TypeError, r"mask must hold booleans .*, got dtype object"),
    "masked": (verify(np.ma.array(ONE)), TypeError, r"mask must be a plain array, got a masked array"),
    "scalar": (verify(True), TypeError, r"mask must be an array or nested lists, got bool"),
    "ragged": (verify([[True], [True, False]]), ValueError, r"mask must be rectangular"),
    "axes": (
        verify(np.ones(4, bool), "2:4-T"),
        ValueError,
        r"mask must have 2 to 61 axes .* got shape \(4,\)",
    ),
    "shape": (verify(np.ones((4, 6), bool)), ValueError, r"mask has 6 entries along axis -1, which m=4"),
    "pattern": (verify(ONE, "2:4-X"), ValueError, r"pattern must look like"),
}

CASES = [
    pytest.param(*case, id=ascii(f"{title}-{name}"))
    for title, table in {
        "scores": NOT_FINITE | SCORES,
        "shape": SHAPES,
        "pattern": PATTERNS,
        "forced": FORCED,
        "option": OPTIONS,
        "mask": MASKS,
    }.items()
    for name, case in table.items()
]


@pytest.mark.parametrize(("call", "error", "message"), CASES)
def test_bad_input(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert isinstance(caught.value, (ValueError, TypeError))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mistake", ["none", "scores", "option"])
def test_no_input_is_ever_modified(mistake: str) -> None:
    scores = np.random.default_rng(1).normal(size=(8, 8))
    if mistake == "scores":
        scores[3, 3] = NAN
    keep, drop = np.zeros((8, 8), np.bool_), np.zeros((8, 8), np.bool_)
    keep[0, 0] = drop[7, 7] = True
    arrays = [scores, keep, drop]
    copies = [array.copy() for array in arrays]
    options: dict[str, Any] = {"speed": 1} if mistake == "option" else {}
    for writeable in (True, False):
        for array in arrays:
            array.flags.writeable = writeable
        try:
            ms.solve(scores, "4:8-T", keep=keep, drop=drop, **options)
        except (TypeError, ValueError):
            assert mistake != "none"
        for array, copy in zip(arrays, copies, strict=True):
            np.testing.assert_array_equal(array, copy)
