"""Calls with bad input, and what is said about it: what the tests of bad input share."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest

import masksolve as ms
from masksolve import Pattern

Case = tuple[Callable[[], object], type[Exception], str]
"""A call, the error that it must raise, and a regular expression that the message must match."""

TILE = np.arange(16.0).reshape(4, 4)
NONE = np.zeros((4, 4), np.bool_)
ONE = NONE.copy()
ONE[1, 2] = True
SOLVED = ms.solve(TILE, "2:4-T")


def solve(scores: Any = TILE, pattern: Any = "2:4-T", **options: Any) -> Callable[[], object]:
    return partial(ms.solve, scores, pattern, **options)


def verify(mask: Any, pattern: Any = "2:4") -> Callable[[], object]:
    return partial(ms.verify, mask, pattern)


pattern = partial(partial, Pattern)


def table(**tables: Mapping[str, Case]) -> pytest.MarkDecorator:
    """Run a test on every case of some tables."""
    return pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            pytest.param(*case, id=ascii(f"{title}-{name}"))
            for title, cases in tables.items()
            for name, case in cases.items()
        ],
    )


def assert_refused(call: Callable[[], object], error: type[Exception], message: str) -> None:
    """One clear error in one line, that code which expects a built-in catches too."""
    with pytest.raises(error, match=message) as caught:
        call()
    assert isinstance(caught.value, (ValueError, TypeError))
    assert "\n" not in str(caught.value)
