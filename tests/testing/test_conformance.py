"""The conformance kit: every backend passes it, and backends that are wrong in one way each do not."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import oracles
import pytest
from wrong_backends import (
    Abstract,
    AlwaysKeepsAll,
    Chunked,
    DependsOnNeighbours,
    DependsOnThreads,
    DislikesItsDefault,
    Fails,
    HidesInfeasibility,
    IgnoresDrop,
    IgnoresForced,
    Infeasible,
    InfeasibleChunks,
    Mutates,
    NamesTheWrongTile,
    NeedsAnOption,
    NeedsContiguous,
    NeedsWriteable,
    NoBound,
    PromisesNothing,
    RanksMagnitudes,
    RefusesEverything,
    RefusesTooLate,
    RefusesWithFalse,
    RefusesWithoutReason,
    Right,
    SinglePrecision,
    Suboptimal,
    Undecided,
    WholeTilesOnly,
    WrongObjective,
)

import masksolve as ms
from masksolve.backends import offering
from masksolve.testing import FAMILIES, bfloat16_rounded, check_backend, oracle

VARIANTS: list[tuple[str, Mapping[str, Any]]] = [
    # The backend of V:N:M solves none of the kit's patterns.
    *((info.name, {}) for info in ms.backends() if info.name != "columns"),
    ("greedy", {"bound": True}),
    ("cover", {"bound": True}),
    ("exact", {"instruction_set": "baseline"}),
]


def label(value: object) -> str:
    return (
        " ".join(f"{name}={option}" for name, option in value.items())
        if isinstance(value, dict)
        else str(value)
    )


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=label)
def test_our_backends_conform(name: str, options: Mapping[str, Any]) -> None:
    (info,) = [info for info in ms.backends() if info.name == name]
    if info.unavailable is not None:
        pytest.skip(info.unavailable)
    outcome = check_backend(name, options)
    assert outcome.backend == name
    assert outcome.solves > 200
    assert str(outcome).startswith(f"backend '{name}' conforms: {outcome.solves} solves examined")
    assert ("4:8" in outcome.refused) == (name in ("enumerate", "entropic"))
    assert all(f"refuses {what}: {why}" in str(outcome) for what, why in outcome.refused.items())


def test_further_patterns_are_examined() -> None:
    plain, more = (
        check_backend("greedy"),
        check_backend("greedy", patterns=["3:5-T", ms.Pattern(2, 6)], seed=1),
    )
    assert more.solves == plain.solves + 2 * len(FAMILIES)


# Backends that are wrong


def test_what_the_wrong_ones_derive_from_is_right() -> None:
    assert check_backend(Right).backend == "wrong"
    assert check_backend(Chunked).refused["4:8-T"].startswith("needs m <= 4")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (InfeasibleChunks, "the solve raised BackendFailedError.*infeasible mask for tile 0"),
        (Infeasible, "the solve raised BackendFailedError.*infeasible mask for tile 0"),
        (Suboptimal, r"it claims exactness, but tile \d keeps .* and its optimum is"),
        (RanksMagnitudes, r"family 'signed'.*tile \d keeps .* and its optimum is"),
        (SinglePrecision, r"family 'nearly_equal'.*tile \d keeps .* and its optimum is"),
        (AlwaysKeepsAll, r"pattern '.* at_most.*tile \d keeps .* and its optimum is"),
        (NoBound, "it claims exactness, but its bound inf exceeds the kept sum"),
        (WrongObjective, "the solve raised BackendFailedError.*reported an objective of .* masks keep"),
        (Undecided, "pattern '.*(a second run|workers=.) gave another mask, bound or prices"),
        (DependsOnThreads, "workers=[23] gave another mask, bound or prices than the first run"),
        (DependsOnNeighbours, r"tile \d+ keeps .*, but .* where chunks hold 1 entries"),
        (Mutates, "the solve changed its input"),
        (NeedsWriteable, "read-only.*the solve raised ValueError.*read-only"),
        (NeedsContiguous, "the solve raised ValueError.*not C-contiguous"),
        (IgnoresForced, "forced choices, pattern '2:4-T'.*keep=, drop=: .*infeasible mask for tile"),
        (IgnoresDrop, "forced choices.*drop=: .*infeasible mask for tile"),
        (WholeTilesOnly, "pattern '2:4-T pad'.*infeasible mask for tile"),
        (RefusesWithoutReason, "refuses.. must give a reason in words or None, got ''"),
        (RefusesWithFalse, "refuses.. must give a reason in words or None, got False"),
        (RefusesEverything, "refuses everything: .*is not in the mood"),
        (RefusesTooLate, "refuses.. gives None, yet the solve was refused: at_most is too hard"),
        (Fails, "the solve raised ZeroDivisionError.*a bug"),
        (HidesInfeasibility, "expected InfeasibleError, got RuntimeError"),
        (NamesTheWrongTile, "InfeasibleError names tile 0; it is tile 1"),
        (DislikesItsDefault, "raised ValueError.'depth must be positive'"),
        (PromisesNothing, "leaves its attribute guarantee empty"),
        (NeedsAnOption, "its option depth has no default"),
        (Abstract, "it does not define solve"),
        (ms.Pattern, "it is not a subclass of masksolve.backends.base.Backend"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_wrong_backends_are_caught(kind: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=f"(?s){message}") as caught:
        check_backend(kind)
    assert "wrong" in str(caught.value) or "cannot be a backend" in str(caught.value)


def test_a_message_names_scores_pattern_and_tile() -> None:
    with pytest.raises(AssertionError) as caught:
        check_backend(Suboptimal)
    pattern = (
        r"backend 'wrong', family '\w+', pattern '[^']+', shape \(\d+, \d+\), \w+: "
        r"it claims exactness, but tile \d+ keeps \S+ and its optimum is \S+"
    )
    assert re.fullmatch(pattern, str(caught.value))


def test_unknown_options_must_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No backend can let them through while the registry is right: break the registry."""
    registry = sys.modules["masksolve.backends"]
    configure = registry.configure
    monkeypatch.setattr(
        sys.modules["masksolve.solve"],
        "configure",
        lambda kind, options, *rest, **forced: configure(
            kind, {k: v for k, v in options.items() if "no_" not in k}, *rest, **forced
        ),
    )
    with pytest.raises(AssertionError, match="no_such_option=1 was not refused"):
        check_backend(Right)


def test_rounding_that_is_documented_may_be_allowed() -> None:
    with pytest.raises(AssertionError, match="nearly_equal"):
        check_backend(SinglePrecision)
    assert check_backend(SinglePrecision, rounding=1e-6).solves > 200


def test_an_unavailable_backend_is_not_called_wrong() -> None:
    class Missing(Right):
        requires = "no_such_module.inside"

    with pytest.raises(
        ms.BackendUnavailableError, match=r"'wrong' needs no_such_module.inside: .*pip install no_such_module"
    ):
        check_backend(Missing)


def test_an_offer_ends_with_its_context() -> None:
    with offering(Right), offering(Chunked):
        assert ms.solve(np.eye(4), "1:4-T", backend="wrong").objective == 4.0
        assert "wrong" in [info.name for info in ms.backends()]
    with pytest.raises(ValueError, match="backend must be one of"):
        ms.solve(np.eye(4), "1:4-T", backend="wrong")


# The kit's own oracle


@pytest.mark.parametrize(
    "text",
    ["2:4-T", "2:4-T at_most", "3:4", "2:5 at_most", "2:3-T pad", "2:4 pad axis=0", "1:3-T dense", "2:6-T"],
)
@pytest.mark.parametrize("forced", [False, True])
def test_the_kits_oracle_agrees_with_the_tests_oracles(text: str, forced: bool) -> None:
    rng = np.random.default_rng(len(text))
    pattern = ms.Pattern.parse(text)
    shape = (7, 8) if pattern.remainder != "error" else (2 * pattern.m, 3 * pattern.m)
    scores = rng.standard_normal(shape)
    keep = drop = None
    if forced:
        feasible = oracles.solve(rng.standard_normal(shape), pattern)
        keep, drop = feasible & (rng.random(shape) < 0.2), ~feasible & (rng.random(shape) < 0.2)
    best = oracles.solve(scores, pattern, keep, drop)
    found = oracle.optimum(scores, pattern, oracle.Forced(keep, drop), None)
    tiles = list(oracles.tiles(shape, pattern))
    assert [(t.row_bounds, t.column_bounds) for t in tiles] == [
        (t.row_bounds, t.column_bounds) for t in oracle.cut(shape, pattern)
    ]
    values = [oracles.value(np.atleast_2d(scores[t.place]), np.atleast_2d(best[t.place])) for t in tiles]
    np.testing.assert_allclose(found.low, values, rtol=1e-12)
    np.testing.assert_allclose(found.high, values, rtol=1e-12)


def test_an_optimum_that_is_not_proven_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    greedy = ms.solve
    monkeypatch.setattr(
        oracle, "solve", lambda *a, **k: greedy(*a, **{**k, "backend": "greedy", "bound": True})
    )
    scores = np.random.default_rng(0).standard_normal((16, 16))
    with pytest.raises(AssertionError, match="optimum of tile 0 under '4:8-T' could not be proven"):
        oracle.optimum(scores, ms.Pattern.parse("4:8-T"), oracle.NOTHING, None)


def test_bfloat16_rounding() -> None:
    values = np.random.default_rng(1).standard_normal(10_000, dtype=np.float32)
    values[:4] = [1 + 2**-8, 1 + 3 * 2**-8, -0.0, 2.0**-130]  # ties to even both ways, zero, denormal
    expected = values.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(bfloat16_rounded(values), expected)
    assert (bfloat16_rounded(values) != values).any()


def test_the_kit_needs_numpy_alone() -> None:
    code = """
import sys, masksolve
assert "masksolve.testing" not in sys.modules
from masksolve.testing import check_backend
check_backend("greedy")
print(*{name.partition(".")[0] for name in sys.modules})
"""
    ran = subprocess.run([sys.executable, "-O", "-c", code], check=True, capture_output=True, text=True)
    assert set(ran.stdout.split()) & {"pytest", "hypothesis", "scipy", "ml_dtypes", "torch"} == set()
