"""The problem as an object: HiGHS, OR-tools and networkx read it and find what other solvers find."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import masksolve as ms
from masksolve.testing.families import FAMILIES

optimize = pytest.importorskip("scipy.optimize")

CASES = {
    "2:4": (8, 12),
    "1:3 axis=0": (6, 5),
    "2:4 at_most": (4, 8),
    "2:4 pad": (3, 7),
    "2:4 dense": (3, 7),
    "2:4-T": (8, 12),
    "1:4-T at_most": (8, 4),
    "2:3-T pad": (7, 8),
    "2:4-T dense": (9, 6),
    "1:2-T": (2, 4, 4),
    "2:4 x 4:8": (16, 12),
    "2:4 x 6:8 at_most": (8, 12),
    "2:4 x 4:8 pad": (11, 7),
    "8:16-T": (16, 32),
}


def instance(pattern: str, seed: int = 0, forced: bool = False) -> tuple[np.ndarray, dict]:
    """Signed scores, and choices that some mask obeys."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(-9, 40, CASES[pattern]).astype(float)
    if not forced:
        return scores, {}
    some = ms.solve(rng.random(scores.shape), pattern, backend="highs").mask
    at_random = rng.random(scores.shape)
    tails = {"keep": some & (at_random < 0.2), "drop": ~some & (at_random > 0.8)}
    return scores, tails


def best(scores: np.ndarray, pattern: str, choices: dict) -> float:
    """By trying every mask of a tile where there are few, and by HiGHS otherwise."""
    larger = any(m > 4 for _, m in ms.Pattern(pattern).budgets.values())
    return ms.solve(scores, pattern, backend="highs" if larger else "enumerate", **choices).objective


def assert_good(mask: np.ndarray, scores: np.ndarray, pattern: str, choices: dict) -> None:
    assert ms.verify(mask, pattern).ok
    assert (mask | ~choices.get("keep", False)).all()
    assert not (mask & choices.get("drop", False)).any()
    assert scores[mask].sum() == pytest.approx(best(scores, pattern, choices), abs=1e-6)


both = pytest.mark.parametrize("forced", [False, True], ids=["free", "forced"])
every = pytest.mark.parametrize("pattern", CASES)


@both
@every
def test_linear_programme(pattern: str, forced: bool) -> None:
    scores, choices = instance(pattern, 1, forced)
    problem = ms.formulation(scores, pattern, **choices)
    lp = problem.lp()
    lines = [optimize.LinearConstraint(lp.matrix, lp.least, lp.most)]
    bounds = optimize.Bounds(lp.lower, lp.upper)
    found = optimize.milp(lp.costs, bounds=bounds, constraints=lines)  # relaxed: no integrality
    assert found.success
    assert_good(problem.mask(found.x), scores, pattern, choices)
    assert -found.fun == pytest.approx(best(scores, pattern, choices))


@both
@every
def test_networkx(pattern: str, forced: bool) -> None:
    nx = pytest.importorskip("networkx")
    scores, choices = instance(pattern, 2, forced)
    network = ms.formulation(scores, pattern, **choices).network(bits=20)
    assert network.supplies.sum() == 0
    cost, flow = nx.network_simplex(network.networkx())
    mask = network.mask(flow)
    assert_good(mask, scores, pattern, choices)
    kept = np.where(network.forced, 0.0, scores)[mask].sum()
    assert -cost / network.scale == pytest.approx(kept)


@both
@every
def test_dimacs_text_in_ortools(pattern: str, forced: bool) -> None:
    flow = pytest.importorskip("ortools.graph.python.min_cost_flow")
    scores, choices = instance(pattern, 3, forced)
    network = ms.formulation(scores, pattern, **choices).network(bits=20)
    solver, promised = flow.SimpleMinCostFlow(), (0, 0)
    for line in network.dimacs().splitlines():
        kind, *words = line.split()
        if kind == "p":
            promised = (int(words[1]), int(words[2]))
        elif kind == "n":
            solver.set_node_supply(int(words[0]) - 1, int(words[1]))
        else:
            tail, head, low, capacity, cost = map(int, words)
            assert low == 0
            solver.add_arc_with_capacity_and_unit_cost(tail - 1, head - 1, capacity, cost)
    assert solver.num_arcs() == promised[1]
    assert promised[0] == len(network.supplies) >= solver.num_nodes()
    assert solver.solve() == solver.OPTIMAL
    flows = [solver.flow(arc) for arc in range(solver.num_arcs())]
    assert_good(network.mask(flows), scores, pattern, choices)


READ_BY_HIGHS = """
import json, pathlib, sys
import highspy

for path in sys.argv[1:]:
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    assert solver.readModel(path) == highspy.HighsStatus.kOk
    solver.run()
    pathlib.Path(path + ".json").write_text(json.dumps(list(solver.getSolution().col_value)))
"""


def test_mps_text_in_highs(tmp_path: Path) -> None:
    """In a process of its own: highspy and OR-tools bring libraries of the same name, which clash."""
    if importlib.util.find_spec("highspy") is None:
        pytest.skip("needs highspy")
    cases = [(pattern, *instance(pattern, 4, forced)) for pattern in CASES for forced in (False, True)]
    problems = [ms.formulation(scores, pattern, **choices) for pattern, scores, choices in cases]
    paths = [tmp_path / f"{number}.mps" for number in range(len(cases))]
    for problem, path in zip(problems, paths, strict=True):
        path.write_text(problem.mps())
    # Its answers come in files: HiGHS prints a banner, too.
    subprocess.run([sys.executable, "-c", READ_BY_HIGHS, *map(str, paths)], capture_output=True, check=True)
    answers = [json.loads(path.with_suffix(".mps.json").read_text()) for path in paths]
    for (pattern, scores, choices), problem, values in zip(cases, problems, answers, strict=True):
        assert len(values) == scores.size
        assert_good(problem.mask(values), scores, pattern, choices)


@both
@every
def test_mps_text_in_ortools(pattern: str, forced: bool) -> None:
    builder = pytest.importorskip("ortools.linear_solver.python.model_builder")
    scores, choices = instance(pattern, 5, forced)
    problem = ms.formulation(scores, pattern, **choices)
    model, solver = builder.Model(), builder.Solver("glop")
    assert model.import_from_mps_string(problem.mps())
    assert solver.solve(model) == builder.SolveStatus.OPTIMAL
    values = [solver.value(model.var_from_index(k)) for k in range(scores.size)]
    assert_good(problem.mask(values), scores, pattern, choices)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"denormal", "denormal_float32"}))
def test_every_family_is_written_down(family: str) -> None:
    scores = FAMILIES[family](np.random.default_rng(6), (8, 8))
    problem = ms.formulation(scores, "2:4-T", score="magnitude")
    assert np.array_equal(problem.scores, np.abs(scores.astype(float)))
    costs = [float(line.split()[2]) for line in problem.mps().splitlines() if " kept " in line]
    assert np.array_equal(costs, problem.lp().costs)  # read back exactly
    network = problem.network(bits=40)
    assert abs(network.costs).max() <= 2**40
    error = np.abs(network.costs[: scores.size] / network.scale + problem.scores.reshape(-1)[network.entries])
    assert error.max() <= 0.5 / network.scale


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0)])
def test_nothing_to_choose(shape: tuple[int, int]) -> None:
    problem = ms.formulation(np.ones(shape), "2:4-T")
    assert problem.lp().matrix.shape == (0, 0)
    assert problem.network(bits=8).dimacs() == "p min 1 0\n"
    assert problem.mask([]).shape == shape
    assert problem.mps().endswith("ENDATA\n")


def test_scores_of_weights() -> None:
    weights = np.array([[1.0, -3.0, 2.0, -0.5]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ms.formulation(weights, "2:4", score="square").scores.tolist() == [[1.0, 9.0, 4.0, 0.25]]
    assert weights[0, 1] == -3.0  # the caller's array is left as it was


def test_bad_input() -> None:
    problem = ms.formulation(np.ones((4, 4)), "2:4-T")
    with pytest.raises(ValueError, match="bits must be between 1 and 52, got 60"):
        problem.network(bits=60)
    with pytest.raises(ValueError, match=r"flows must have one number an arc, \(16,\), got \(3,\)"):
        problem.network().mask([1, 2, 3])
    with pytest.raises(ValueError, match="x must have 16 entries, got 4"):
        problem.mask([0, 1, 0, 1])
    with pytest.raises(ValueError, match="scores must be finite"):
        ms.formulation(np.full((4, 4), np.nan), "2:4-T")
    with pytest.raises(ValueError, match="a line keeps more than it may"):
        ms.formulation(np.ones((4, 4)), "2:4-T", keep=np.ones((4, 4), bool)).network()
