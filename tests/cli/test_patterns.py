"""The command line with every kind of pattern: prune, verify with a certificate, pack, and hints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from weight_files import gaussian, run, succeed

import masksolve as ms

PATTERNS = ("4:8 pair", "4:8-T pair", "2:4 x 4:8", "2:4 x 6:8 at_most", "16:2:8")


@pytest.mark.parametrize("text", PATTERNS)
def test_prune_verify_and_pack(tmp_path: Path, text: str) -> None:
    weights = gaussian(32, 32)
    save_file({"w": weights}, tmp_path / "m.safetensors")
    pruned, packed = tmp_path / "p.safetensors", tmp_path / "packed.safetensors"
    proof = tmp_path / "proof.safetensors"
    succeed("prune", tmp_path / "m.safetensors", "-o", pruned, "--pattern", text, "--certificate", proof)
    kept = load_file(pruned)["w"]
    best = ms.solve(weights, text, score="magnitude")
    assert np.abs(kept.astype(float)).sum() == pytest.approx(best.objective)
    assert np.array_equal(kept[best.mask], weights[best.mask])
    proven = succeed(
        *("verify", pruned, "--pattern", text, "--certificate", proof),
        *("--original", tmp_path / "m.safetensors"),
    )
    assert "optimal" in proven
    assert "ok" in succeed("verify", pruned, "--pattern", text)
    assert run("verify", tmp_path / "m.safetensors", "--pattern", text).exit_code == 1
    succeed("pack", pruned, "-o", packed, "--pattern", text)
    expected = ms.pack(weights, best.mask, text)
    with safe_open(packed, "np") as file:
        assert json.loads(file.metadata()["masksolve.packed"])["tensors"]["w"]["shape"] == [32, 32]
    assert np.array_equal(load_file(packed)["w:rows.values"], expected.rows.values)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("4:8 pairs", "4:8 pair"), ("4:8pair-T", "4:8-T pair"), ("2:4x4:8", "2:4 x 4:8")],
)
def test_a_misspelt_pattern_gets_a_hint(tmp_path: Path, text: str, meant: str) -> None:
    np.save(tmp_path / "w.npy", gaussian(32, 32))
    result = run("prune", tmp_path / "w.npy", "-o", tmp_path / "o.npy", "--pattern", text)
    assert result.exit_code == 2
    assert f"did you mean '{meant}'?" in " ".join(result.output.replace("│", " ").split())
