"""Bad arrays: one clear error that names the argument, the value and what was expected."""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from bad_input import ONE, TILE, Case, assert_refused, solve, table, verify

import masksolve as ms

NAN, INF = float("nan"), float("inf")
OVER_32_BITS = (1 << 17, 1 << 16)


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
        r"scores must have 1 to 61 axes for pattern '2:4' \(shape \(\)\)",
    ),
    "one-axis": (
        solve(np.ones(4)),
        ValueError,
        r"scores must have 2 to 61 axes for pattern '2:4-T' \(shape \(4,\)\)",
    ),
    "too-many-axes": (
        solve(np.ones((1,) * 60 + (4, 4))),
        ValueError,
        r"scores must have 2 to 61 axes .* \(shape \(1, 1, ",
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
        r"scores has no axis 2, along which '2:4 axis=2' runs \(shape \(4, 4\)\)",
    ),
    "no-such-negative-axis": (
        solve(TILE, "2:4 axis=-3"),
        ValueError,
        r"scores has no axis -3, along which '2:4 axis=-3' runs \(shape \(4, 4\)\)",
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

MASKS: dict[str, Case] = {
    "masked": (verify(np.ma.array(ONE)), TypeError, r"mask must be a plain array, got a masked array"),
    "scalar": (verify(True), TypeError, r"mask must be an array or nested lists, got bool"),
    "ragged": (verify([[True], [True, False]]), ValueError, r"mask must be rectangular"),
    "axes": (
        verify(np.ones(4, bool), "2:4-T"),
        ValueError,
        r"mask must have 2 to 61 axes .* \(shape \(4,\)\)",
    ),
    "shape": (verify(np.ones((4, 6), bool)), ValueError, r"mask has 6 entries along axis -1, which m=4"),
    "pattern": (verify(ONE, "2:4-X"), ValueError, r"pattern must look like"),
}


@table(scores=NOT_FINITE | SCORES, shape=SHAPES, mask=MASKS)
def test_bad_arrays(call: Callable[[], object], error: type[Exception], message: str) -> None:
    assert_refused(call, error, message)


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
