"""The kit's assessment of a result, on results that were falsified: `solve` itself would refuse most."""

import dataclasses
from typing import Any

import numpy as np
import pytest

import masksolve as ms
from masksolve.testing.assess import Case, assess
from masksolve.testing.oracle import Forced

SCORES = np.random.default_rng(0).standard_normal((9, 8)) * np.array([1e9] * 4 + [1.0] * 4)
PATTERN = ms.Pattern.parse("2:4-T dense")
KEEP, DROP = np.zeros((2, 9, 8), np.bool_)
KEEP[0, 0] = DROP[1, 5] = True
CASE = Case("falsified", SCORES, PATTERN, Forced(KEEP, DROP))


def examine(exact: bool = True, case: Case = CASE, **changes: Any) -> None:
    result = ms.solve(
        SCORES, PATTERN, backend="batched", duals=True, keep=case.forced.keep, drop=case.forced.drop
    )
    changed = {name: change(getattr(result, name)) for name, change in changes.items()}
    assess(case, dataclasses.replace(result, **changed), case.optimum(None), exact=exact, rounding=None)


def flipped(*places: tuple[int, int]) -> Any:
    def change(mask: Any) -> Any:
        mask = mask.copy()
        for place in places:
            mask[place] ^= True
        return mask

    return change


def other_mask(mask: Any) -> Any:
    """The light tile at the upper right, with its rows exchanged in pairs."""
    mask = mask.copy()
    mask[:4, 4:] = mask[[1, 0, 3, 2], 4:]
    return mask


def kept(mask: Any) -> Any:
    return lambda objective: float(SCORES[mask].sum())


def test_the_truth_passes() -> None:
    examine()
    examine(exact=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": lambda mask: mask[:8]}, r"the mask has shape \(8, 8\)"),
        ({"mask": lambda mask: mask.astype(int)}, "the mask has dtype int64"),
        ({"mask": np.ones_like}, "tile 0, row 0 keeps 4, expected exactly 2"),
        ({"mask": flipped((8, 3))}, "the tail that remainder='dense' keeps whole is not kept"),
        ({"objective": lambda value: value * (1 + 1e-9)}, "objective .* is not the kept sum"),
        ({"bound": lambda value: value * (1 + 1e-9)}, "bound .* is above the one that the prices give"),
        ({"bound": lambda value: value * (1 - 1e-6)}, "bound .* is below the optimum"),
        ({"duals": lambda value: None}, "a finite bound without prices"),
        ({"bound": lambda value: np.inf}, "it claims exactness, but its bound inf exceeds the kept sum"),
    ],
)
def test_what_is_false_is_seen(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        examine(**changes)


@pytest.mark.parametrize(("forced", "name"), [(Forced(~KEEP, None), "keep"), (Forced(None, ~DROP), "drop")])
def test_forced_choices_that_are_not_obeyed_are_seen(forced: Forced, name: str) -> None:
    result = ms.solve(SCORES, PATTERN, duals=True)
    with pytest.raises(AssertionError, match=f"{name}= is not obeyed at index"):
        assess(
            dataclasses.replace(CASE, forced=forced), result, CASE.optimum(None), exact=True, rounding=None
        )


def test_a_light_tile_beside_a_heavy_one_is_seen() -> None:
    """The whole array is off by a billionth, its light tile by a good deal."""
    case = Case("falsified", SCORES, PATTERN)
    result = ms.solve(SCORES, PATTERN, backend="batched", duals=True)
    mask = other_mask(result.mask)
    worse = dataclasses.replace(result, mask=mask, objective=float(SCORES[mask].sum()))
    assert abs(worse.objective - result.objective) < 1e-8 * abs(result.objective)
    for exact, message in (
        (True, "it claims exactness, but tile 1"),
        (False, "status OPTIMAL, but tile 1 keeps"),
    ):
        with pytest.raises(AssertionError, match=message):
            assess(case, worse, case.optimum(None), exact=exact, rounding=None)
    honest = dataclasses.replace(worse, status=ms.Status.FEASIBLE)
    assess(case, honest, case.optimum(None), exact=False, rounding=None)
