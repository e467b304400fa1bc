"""``masksolve verify --json``: every field that the documentation names, for machines that read them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from places import ROOT
from safetensors.numpy import load_file, save_file
from weight_files import folder, gaussian, run, safetensors_bytes, succeed

import masksolve as ms

WEIGHTS = np.where(ms.solve(abs(gaussian(16, 16)), "4:8-T").mask, gaussian(16, 16), 0)
TENSOR = {"pattern", "left_alone", "violations", "first"}
PROOF = {"pattern", "objective", "bound", "optimal", "wrong"}
VIOLATION = {"tile", "axis", "index", "kept", "least", "most"}


def told(*arguments: object, status: int = 0) -> dict[str, Any]:
    """What the command prints, which is JSON and nothing else."""
    result = run("verify", *arguments, "--json")
    assert result.exit_code == status, result.output
    assert result.stderr == ""
    said = json.loads(result.stdout)
    assert set(said) == {"ok", "tensors"}
    assert said["ok"] is (status == 0)
    return said["tensors"]


def broken(axis: int) -> np.ndarray:
    """Weights with one non-zero too many, in row 9 or column 2, which other lines do not notice."""
    weights = WEIGHTS.copy()
    line = weights[9] if axis == 1 else weights[:, 2]
    line[8 + np.flatnonzero(line[8:] == 0)[0]] = 1
    return weights


def test_the_fields_are_those_of_the_documentation() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    table = page[page.index("| field | what it says |") :].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == TENSOR | VIOLATION | PROOF


def test_clean_tensors_and_those_left_alone(tmp_path: Path) -> None:
    save_file({"w": WEIGHTS, "bias": gaussian(8), "odd": gaussian(8, 9)}, tmp_path / "m.safetensors")
    tensors = told(tmp_path / "m.safetensors", "--pattern", "4:8-T")
    assert set(tensors) == {f"m.safetensors:{name}" for name in ("w", "bias", "odd")}
    assert tensors["m.safetensors:w"] == {
        "pattern": "4:8-T at_most",
        "left_alone": None,
        "violations": 0,
        "first": [],
    }
    for name, reason in (("bias", "1 axis"), ("odd", "9 entries along axis -1, which m=8 does not divide")):
        said = tensors[f"m.safetensors:{name}"]
        assert set(said) == TENSOR
        assert reason in said.pop("left_alone")
        assert said == {"pattern": None, "violations": 0, "first": []}


@pytest.mark.parametrize("pattern", ["4:8", "4:8-T", "4:8 axis=0", "4:8-T pair", "2:4 x 4:8", "8:2:8"])
def test_violations_are_those_of_the_function(tmp_path: Path, pattern: str) -> None:
    weights = gaussian(16, 16) * (np.random.default_rng(3).random((16, 16)) < 0.5)
    np.save(tmp_path / "w.npy", weights)
    (said,) = told(tmp_path / "w.npy", "--pattern", pattern, status=1).values()
    assert set(said) == TENSOR
    found = ms.verify(weights, replace(ms.Pattern(pattern), constraint="at_most"))
    assert said["violations"] == len(found) > 0
    expected = [{name: each[name] for name in VIOLATION} for each in found.to_dict(limit=10)["violations"]]
    assert said["first"] == expected
    assert said["pattern"] == str(found.pattern)
    assert {each["axis"] for each in said["first"]} <= {"group", "row", "column", "tile"}


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", ">f8"])
def test_zero_has_two_signs(tmp_path: Path, dtype: str) -> None:
    """What ``weights * mask`` leaves of a negative weight is no violation, and can be packed."""
    mask = np.tile([True, True, False, False], (8, 4))
    weights = (-abs(gaussian(8, 16)) * mask).astype(dtype)
    assert np.signbit(weights).all()
    np.save(tmp_path / "w.npy", weights)
    (said,) = told(tmp_path / "w.npy", "--pattern", "2:4").values()
    assert said["violations"] == 0
    (said,) = told(tmp_path / "w.npy", "--pattern", "1:4", status=1).values()
    assert (said["violations"], said["first"][0]["kept"]) == (32, 2)


@pytest.mark.parametrize(
    ("name", "dtype"), [("BF16", "bfloat16"), ("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2")]
)
def test_zero_has_two_signs_in_short_types(tmp_path: Path, name: str, dtype: str) -> None:
    numbers = getattr(ml_dtypes, dtype)
    weights = np.tile([-1.0, -0.0, 0.0, 2.0], (4, 4)).astype(numbers)
    header = {"w": {"dtype": name, "shape": [4, 16], "data_offsets": [0, weights.nbytes]}}
    (tmp_path / "m.safetensors").write_bytes(safetensors_bytes(header, weights.tobytes()))
    assert told(tmp_path / "m.safetensors", "--pattern", "2:4")["m.safetensors:w"]["violations"] == 0
    packed = tmp_path / "packed.safetensors"
    succeed("pack", tmp_path / "m.safetensors", "-o", packed, "--pattern", "2:4")
    assert np.tile([-1.0, 2.0], (4, 4)).astype(numbers).tobytes() in packed.read_bytes()


@pytest.mark.parametrize(("axis", "name"), [(1, "row"), (0, "column")])
def test_one_entry_too_many(tmp_path: Path, axis: int, name: str) -> None:
    np.save(tmp_path / "w.npy", broken(axis))
    (said,) = told(tmp_path / "w.npy", "--pattern", "4:8-T", status=1).values()
    wrong = [each for each in said["first"] if each["axis"] == name]
    where = {"tile": 3, "index": 1} if axis == 1 else {"tile": 2, "index": 2}
    assert wrong == [{**where, "axis": name, "kept": 5, "least": 0, "most": 4}]


def test_exactly_counts_groups_that_keep_too_few(tmp_path: Path) -> None:
    weights = np.tile(np.float32([1, 1, 0, 0]), (4, 2))
    weights[2, 4] = 0
    np.save(tmp_path / "w.npy", weights)
    (said,) = told(tmp_path / "w.npy", "--pattern", "2:4").values()
    assert said["violations"] == 0
    (said,) = told(tmp_path / "w.npy", "--pattern", "2:4", "--exactly", status=1).values()
    assert said["pattern"] == "2:4"
    assert said["first"] == [{"tile": 5, "axis": "group", "index": 0, "kept": 1, "least": 2, "most": 2}]


def test_ten_violations_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.ones((16, 16), np.float32))
    (said,) = told(tmp_path / "w.npy", "--pattern", "2:4", status=1).values()
    assert (said["violations"], len(said["first"])) == (64, 10)
    assert [each["tile"] for each in said["first"]] == list(range(10))


def test_a_folder_by_its_own_patterns(tmp_path: Path) -> None:
    source, pruned = folder(tmp_path / "in"), tmp_path / "out"
    succeed("prune", source, "-o", pruned, "--pattern", "2:4")
    tensors = told(pruned)
    held = {file.name: load_file(file) for file in sorted(pruned.glob("*.safetensors"))}
    assert set(tensors) == {f"{file}:{name}" for file, names in held.items() for name in names}
    for key, said in tensors.items():
        assert set(said) == TENSOR
        assert (said["pattern"] is None) == (said["left_alone"] is not None)
        assert ("proj" in key) == (said["pattern"] is not None)
    file, name = "model-00001-of-00003.safetensors", "model.layers.0.mlp.up_proj.weight"
    held[file][name][:] = 1
    save_file(held[file], pruned / file)
    tensors = told(pruned, status=1)
    assert [key for key, said in tensors.items() if said["violations"]] == [f"{file}:{name}"]
    report = tmp_path / "report.json"
    assert run("verify", pruned, "--report", report).exit_code == 1
    assert json.loads(report.read_text()) == {"ok": False, "tensors": tensors}


def test_proofs(tmp_path: Path) -> None:
    save_file({"w": gaussian(16, 16), "bias": gaussian(8)}, tmp_path / "in.safetensors")
    pruned, proof = tmp_path / "out.safetensors", tmp_path / "proof.safetensors"
    succeed("prune", tmp_path / "in.safetensors", "-o", pruned, "--pattern", "4:8-T", "--certificate", proof)
    arguments = (pruned, "--certificate", proof, "--original", tmp_path / "in.safetensors")
    tensors = told(*arguments)
    said = tensors["in.safetensors:w"]
    best = ms.solve(gaussian(16, 16), "4:8-T", score="magnitude")
    assert said == {
        "pattern": "4:8-T",
        "objective": pytest.approx(best.objective),
        "bound": pytest.approx(best.bound),
        "optimal": True,
        "wrong": None,
    }
    alone = tensors["in.safetensors:bias"]
    assert (alone["pattern"], alone["optimal"], alone["wrong"]) == (None, False, None)
    weights = load_file(pruned)
    weights["w"][weights["w"] != 0] *= 2
    save_file(weights, pruned)
    said = told(*arguments, status=1)["in.safetensors:w"]
    assert (said["optimal"], said["wrong"]) == (False, "kept weights are not the original ones")
