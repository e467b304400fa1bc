"""Bad options and forced choices: one clear error that names argument, value and what was expected."""

from collections.abc import Callable

import numpy as np
from bad_input import ONE, SOLVED, TILE, Case, assert_refused, solve, table

import masksolve as ms

NAN, INF = float("nan"), float("inf")

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
        r"drop must be False in the tail .* from entry 4 along axis -1 on$",
    ),
    "drop-in-dense-tail-rows": (
        solve(np.ones((5, 4)), "2:4-T dense", drop=np.arange(5)[:, np.newaxis] == 4),
        ValueError,
        r"drop must be False in the tail .* from entry 4 along axis -2 and 4 along axis -1 on$",
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
    "time-0": (solve(time_limit=0), ValueError, r"time_limit must be above 0, got 0"),
    "time-1": (solve(time_limit=-1.0), ValueError, r"time_limit must be above 0, got -1.0"),
    "time-nan": (solve(time_limit=NAN), ValueError, r"time_limit must be finite, got nan"),
    "time-text": (
        solve(time_limit="1"),
        TypeError,
        r"time_limit must be a number, got '1'",
    ),
    "time-bool": (solve(time_limit=True), TypeError, r"time_limit must be a number, got True"),
    "progress": (
        solve(progress=[]),
        TypeError,
        r"progress must be callable as progress\(done, total\), got \[\]",
    ),
    "duals": (solve(duals="yes"), TypeError, r"duals must be True, False or None, got 'yes'"),
    "duals-int": (solve(duals=1), TypeError, r"duals must be True, False or None, got 1"),
    "tiles": (solve(tiles="yes"), TypeError, r"tiles must be True, False or None, got 'yes'"),
    "misspelt": (solve(bakend="greedy"), TypeError, r"no option 'bakend'.*; did you mean 'backend'\?"),
    "warm-start-type": (
        solve(warm_start=ONE),
        TypeError,
        r"warm_start must be a MaskResult or its Prices, got ndarray",
    ),
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


PRICES = SOLVED.duals
OUT: dict[str, Case] = {
    "shape": (
        solve(out=np.zeros((4, 5), bool)),
        ValueError,
        r"out must have the shape of scores \(4, 4\), got \(4, 5\)",
    ),
    "list": (
        solve(out=[[True] * 4] * 4),
        ValueError,
        r"out must have the shape of scores \(4, 4\), got list",
    ),
    "dtype": (solve(out=np.zeros((4, 4))), TypeError, r"out must be boolean, got dtype float64"),
    "bytes": (solve(out=np.zeros((4, 4), np.uint8)), TypeError, r"out must be boolean, got dtype uint8"),
    "read-only": (
        solve(out=np.broadcast_to(np.True_, (4, 4))),
        TypeError,
        r"out must be an array on the host that can be written to",
    ),
    "shared": (solve(ONE, out=ONE), ValueError, r"out must not share memory with scores"),
}
SCORE: dict[str, Case] = {
    "word": (
        solve(score="absolute"),
        ValueError,
        r"score must be one of 'value', 'magnitude', 'square'; got 'absolute'",
    ),
    "none": (solve(score=None), TypeError, r"score must be one of .*; got None"),
    "overflow": (
        solve(TILE * 1e160, score="square"),
        ValueError,
        r"scores must be small enough .* magnitude 1.5e\+161 in 16 entries to be squared",
    ),
    "overflow32": (
        solve(np.full((4, 4), -INF, np.float32), score="magnitude"),
        ValueError,
        r"scores must be finite, got -inf at index \[0, 0\]",
    ),
}
START: dict[str, Case] = {
    "three": (
        solve(warm_start=(1, 2, 3)),
        TypeError,
        r"warm_start must be Prices or a pair \(rows, columns\), got tuple",
    ),
    "shape": (
        solve(warm_start=ms.Prices(np.zeros((2, 4)), np.zeros((1, 4)))),
        ValueError,
        r"warm_start must be \(rows, columns\) of shapes \[\(1, 4\), \(1, 4\)\] for pattern '2:4-T' on "
        r"\(4, 4\), got \[\(2, 4\), \(1, 4\)\]",
    ),
    "columns": (
        solve(warm_start=ms.Prices(np.zeros((1, 4)), None)),
        ValueError,
        r"warm_start must be .* got \[\(1, 4\), None\]",
    ),
    "groups": (
        solve(pattern="2:4", warm_start=ms.Prices(np.zeros((4, 1)), np.zeros((4, 4)))),
        ValueError,
        r"warm_start must be .*\[\(4, 1\), None\].* got \[\(4, 1\), \(4, 4\)\]",
    ),
    "nan": (
        solve(warm_start=ms.Prices(np.full((1, 4), NAN), np.zeros((1, 4)))),
        ValueError,
        r"warm_start.rows must be finite, got nan",
    ),
    "complex": (
        solve(warm_start=ms.Prices(np.zeros((1, 4)), np.zeros((1, 4), complex))),
        TypeError,
        r"warm_start.columns must hold real numbers .* got dtype complex128",
    ),
    "text": (solve(warm_start=("a", "b")), TypeError, r"warm_start.rows must be an array"),
}


@table(forced=FORCED, option=OPTIONS, out=OUT, score=SCORE, warm_start=START)
def test_bad_options(call: Callable[[], object], error: type[Exception], message: str) -> None:
    assert_refused(call, error, message)
