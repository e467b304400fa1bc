"""Certificates: every mask proven again from the file, and every way in which that must fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from weight_files import fail, folder, gaussian, run, succeed

import masksolve as ms
from masksolve.checkpoints import work

PATTERNS = ["2:4", "2:4-T", "4:8-T", "4:8-T pad", "8:16-T at_most", "2:4 axis=0"]


def made(tmp_path: Path, pattern: str, weights: np.ndarray, **settings: object) -> ms.checkpoints.Report:
    save_file({"w": weights, "bias": gaussian(8)}, tmp_path / "in.safetensors")
    return ms.checkpoints.prune(
        tmp_path / "in.safetensors",
        tmp_path / "out.safetensors",
        pattern,
        certificate=tmp_path / "proof.safetensors",
        **settings,
    )


def proven(tmp_path: Path) -> tuple[object, ...]:
    return ms.checkpoints.verify(
        tmp_path / "out.safetensors",
        certificate=tmp_path / "proof.safetensors",
        original=tmp_path / "in.safetensors",
    ).proofs


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_a_certificate_proves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, dtype: object
) -> None:
    from masksolve.checkpoints import certificates

    for module in (work, certificates):
        monkeypatch.setattr(module, "ENTRIES", 512)
    weights = gaussian(48, 32, dtype=dtype)
    weights[:9, :9] = 0  # kept weights may be zero
    report = made(tmp_path, pattern, weights)
    with safe_open(tmp_path / "proof.safetensors", framework="np") as file:
        stored = len(list(file.keys()))
    assert (stored > 0) == (pattern[:3] in ("4:8", "8:1"))
    proofs = {proof.name: proof for proof in proven(tmp_path)}
    assert proofs["bias"].wrong is None
    assert proofs["bias"].pattern is None
    assert proofs["w"].optimal
    (tensor,) = report.pruned
    assert proofs["w"].objective == pytest.approx(tensor.objective, rel=1e-12)
    assert proofs["w"].bound >= proofs["w"].objective * (1 - 1e-12)


def test_a_bound_that_is_not_tight_is_not_called_optimal(tmp_path: Path) -> None:
    made(tmp_path, "4:8-T", gaussian(64, 64), backend="greedy", options={"bound": True})
    (proof,) = (proof for proof in proven(tmp_path) if proof.pattern)
    assert proof.wrong is None
    assert not proof.optimal
    assert proof.gap > 1e-4


def spoil(path: Path, name: str, change: object) -> None:
    tensors = load_file(path)
    tensors[name] = change(tensors[name].copy())
    save_file(tensors, path)


def _swap(array: np.ndarray) -> np.ndarray:
    """Keep other entries of the first tile: rows 0 and 1 exchange their zeros."""
    array[[0, 1], :8] = array[[1, 0], :8]
    return array


def _edit(where: object, value: float) -> object:
    def change(array: np.ndarray) -> np.ndarray:
        array[where] = value
        return array

    return change


FORGED = {
    "other_weights": ("out", "w", lambda array: array * 2, "kept weights are not"),
    "dense": ("out", "w", _edit((slice(0, 8), slice(0, 8)), 1.0), "kept weights are not"),
    "swapped": ("out", "w", _swap, "kept weights are not"),
    "bias": ("out", "bias", lambda array: array + 1, "left alone"),
    "shape": ("out", "w", lambda array: array[:32], "another shape"),
}


@pytest.mark.parametrize("case", FORGED)
def test_forged_outputs_are_found(tmp_path: Path, case: str) -> None:
    made(tmp_path, "4:8-T", gaussian(64, 64))
    file, name, change, message = FORGED[case]
    spoil(tmp_path / f"{file}.safetensors", name, change)
    wrong = [proof.wrong for proof in proven(tmp_path) if proof.wrong]
    assert len(wrong) == 1
    assert message in wrong[0]


def test_masks_that_keep_less_or_break_the_pattern_are_found(tmp_path: Path) -> None:
    weights = gaussian(64, 64)
    made(tmp_path, "4:8-T", weights)
    worse = np.where(ms.solve(np.abs(weights), "4:8-T", backend="greedy").mask, weights, 0)
    save_file({"w": worse, "bias": gaussian(8)}, tmp_path / "out.safetensors")
    assert any("its mask keeps" in (proof.wrong or "") for proof in proven(tmp_path))
    save_file({"w": weights, "bias": gaussian(8)}, tmp_path / "out.safetensors")
    assert any("violations of" in (proof.wrong or "") for proof in proven(tmp_path))


def test_forged_certificates_are_found(tmp_path: Path) -> None:
    """A worse mask stays unproven whatever its certificate claims."""
    weights = gaussian(64, 64)
    made(tmp_path, "4:8-T", weights, backend="greedy", options={"bound": True})
    path = tmp_path / "proof.safetensors"
    with safe_open(path, framework="np") as file:
        prices = {name: file.get_tensor(name) for name in list(file.keys())}
        said = json.loads(file.metadata()["masksolve.certificate"])
    tensor = said["tensors"]["in.safetensors:w"]
    tensor["bound"] = tensor["objective"]
    save_file(prices, path, {"masksolve.certificate": json.dumps(said)})
    assert any("its gap is" in (proof.wrong or "") for proof in proven(tmp_path))
    tensor["objective"] = tensor["bound"] = tensor["objective"] * 1.01
    save_file(prices, path, {"masksolve.certificate": json.dumps(said)})
    assert any("its mask keeps" in (proof.wrong or "") for proof in proven(tmp_path))
    save_file(prices, path, {"other": "file"})
    with pytest.raises(ms.CheckpointError, match="that this release"):
        proven(tmp_path)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda tensor: tensor.pop("objective"), "KeyError"),
        (lambda tensor: tensor.update(objective="much"), "TypeError"),
        (lambda tensor: tensor.update(pattern="4:0-T"), "got m=0"),
        (lambda tensor: tensor.update(pattern=7), "not as masksolve writes it"),
        (lambda tensor: tensor.update(order=[0, 5]), "not as masksolve writes it"),
        (lambda tensor: tensor.pop("order"), "KeyError"),
    ],
)
def test_damaged_certificates_are_refused_tensor_by_tensor(
    tmp_path: Path, damage: Callable[[dict[str, Any]], object], what: str
) -> None:
    made(tmp_path, "4:8-T", gaussian(16, 16))
    path = tmp_path / "proof.safetensors"
    with safe_open(path, framework="np") as file:
        prices = {name: file.get_tensor(name) for name in list(file.keys())}
        said = json.loads(file.metadata()["masksolve.certificate"])
    damage(said["tensors"]["in.safetensors:w"])
    save_file(prices, path, {"masksolve.certificate": json.dumps(said)})
    found = {proof.name: proof.wrong for proof in proven(tmp_path)}
    assert found["bias"] is None
    assert what in (found["w"] or "")
    for content in (json.dumps({**said, "tensors": 1}), "{", "[]"):
        save_file(prices, path, {"masksolve.certificate": content})
        with pytest.raises(ms.CheckpointError, match="that this release"):
            proven(tmp_path)


def test_the_command_proves_a_folder(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    proof = tmp_path / "proof.safetensors"
    succeed("prune", source, "-o", tmp_path / "out", "--pattern", "4:8-T", "--certificate", proof)
    arguments = ("verify", tmp_path / "out", "--certificate", proof, "--original", source)
    printed = succeed(*arguments, width=80)
    assert "model.layers.*.mlp.experts.down_proj" in printed
    assert "optimal" in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert len(printed.splitlines()) < 16
    spoil(tmp_path / "out" / "model-00003-of-00003.safetensors", "lm_head.weight", lambda array: array * 0)
    broken = run(*arguments)
    assert broken.exit_code == 1
    assert "lm_head.weight: it was left alone, and is not the original one" in broken.stdout
    assert "given together" in fail("verify", tmp_path / "out", "--certificate", proof)


def test_an_array_proves_under_whatever_name_its_files_have(tmp_path: Path) -> None:
    weights, source, target, proof = gaussian(8, 16), *(tmp_path / name for name in ("w.npy", "o.npy", "p"))
    np.save(source, weights)
    proof = proof.with_suffix(".safetensors")
    ms.checkpoints.prune(source, target, "2:4-T", certificate=proof)
    target, source = target.rename(tmp_path / "pruned.npy"), source.rename(tmp_path / "before.npy")
    (shown,) = ms.checkpoints.verify(target, certificate=proof, original=source).proofs
    assert shown.wrong is None
    assert shown.name == "w"
    np.save(target, weights)
    (shown,) = ms.checkpoints.verify(target, certificate=proof, original=source).proofs
    assert shown.wrong is not None


def test_places_where_a_certificate_cannot_go(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    for place, message in (
        (tmp_path / "out" / "proof.safetensors", "exists"),
        (tmp_path / "nowhere" / "proof.safetensors", "exists"),
        (tmp_path / "proof.json", r"must end in \.safetensors, got suffix '\.json'"),
    ):
        with pytest.raises(ms.CheckpointError, match=message):
            ms.checkpoints.prune(source, tmp_path / "out", "2:4", certificate=place)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
