"""Allocation over a checkpoint's tensors: the recipe that it writes, and what pruning by it keeps."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from weight_files import fail, folder, gaussian, model, run, succeed

import masksolve as ms
from masksolve.checkpoints import work


def layers() -> dict[str, np.ndarray]:
    found = {f"layers.{i}.up.weight": (1 + i) * gaussian(32, 64, seed=i) for i in range(4)}
    found |= {f"layers.{i}.down.weight": gaussian(64, 96, dtype=np.float16, seed=9 + i) for i in range(4)}
    return found | {"norm.weight": gaussian(64)}


@pytest.mark.parametrize("pattern", ["2:4", "4:8-T", "2:4-T at_most"])
def test_pruning_by_the_recipe_keeps_what_was_promised(tmp_path: Path, pattern: str) -> None:
    save_file(layers(), tmp_path / "in.safetensors")
    found = ms.checkpoints.allocate(tmp_path / "in.safetensors", pattern, sparsity=0.6)
    arrays = {name: array.astype(float) for name, array in layers().items() if array.ndim == 2}
    assert found.patterns == ms.allocate(arrays, pattern, sparsity=0.6, score="magnitude").patterns
    report = ms.checkpoints.prune(
        tmp_path / "in.safetensors", tmp_path / "out.safetensors", recipe=found.recipe()
    )
    pruned = load_file(tmp_path / "out.safetensors")
    kept = sum(float(np.abs(array.astype(float)).sum()) for name, array in pruned.items() if name in arrays)
    assert kept == pytest.approx(found.objective, rel=1e-6)
    zeros = sum(int((pruned[name] == 0).sum()) for name in arrays)
    assert zeros >= 0.6 * found.entries
    assert {tensor.name for tensor in report.left_alone} == {"norm.weight"} | {
        name for name, chosen in found.patterns.items() if chosen.n == chosen.m
    }


def test_parts_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(layers(), tmp_path / "in.safetensors")
    whole = ms.checkpoints.allocate(tmp_path / "in.safetensors", "4:8-T")
    monkeypatch.setattr(work, "ENTRIES", 1024)
    parts = ms.checkpoints.allocate(tmp_path / "in.safetensors", "4:8-T")
    assert parts.patterns == whole.patterns
    assert parts.objective == pytest.approx(whole.objective)
    assert np.array_equal(parts.levels.cost, whole.levels.cost)


def test_a_folder_and_the_choice_of_tensors(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    seen: list[tuple[str, int, int]] = []
    found = ms.checkpoints.allocate(source, "2:4", exclude=["*q_proj*"], progress=lambda *at: seen.append(at))
    assert not any("q_proj" in name for name in found.patterns)
    assert seen[-1][1] == seen[-1][2] > 0
    assert len(seen) == len(found.patterns)


def test_the_command_writes_a_recipe_that_prune_reads(tmp_path: Path) -> None:
    save_file(model(), tmp_path / "in.safetensors")
    output = succeed(
        "allocate", tmp_path / "in.safetensors", "-o", tmp_path / "recipe.toml", "--pattern", "4:8-T",
        "--sparsity", "0.6", "--choices", "1,2,4,8",
    )  # fmt: skip
    recipe = tomllib.loads((tmp_path / "recipe.toml").read_text())["patterns"]
    assert set(recipe) == {"encoder.weight", "encoder.half", "encoder.brain", "encoder.double"}
    assert set(recipe.values()) <= {"1:8-T", "2:8-T", "4:8-T", "dense"}
    assert "% more than one n for all" in output
    assert "gap" in output
    succeed(
        "prune",
        tmp_path / "in.safetensors",
        "--recipe",
        tmp_path / "recipe.toml",
        "-o",
        tmp_path / "out.safetensors",
    )
    found = succeed("verify", tmp_path / "out.safetensors", "--recipe", tmp_path / "recipe.toml")
    assert "encoder.weight" in found


def test_refusals(tmp_path: Path) -> None:
    save_file(model(), tmp_path / "in.safetensors")
    arguments = ("allocate", tmp_path / "in.safetensors", "-o", tmp_path / "recipe.toml")
    assert "--pattern must be given" in fail(*arguments)
    assert "sparsity must leave at least" in fail(*arguments, "--pattern", "2:4", "--sparsity", "0.9")
    assert "--choices must be numbers" in fail(*arguments, "--pattern", "2:4", "--choices", "two")
    assert "choices must be between 1 and 4" in fail(*arguments, "--pattern", "2:4", "--choices", "5")
    assert run("allocate", tmp_path / "in.safetensors", "--pattern", "2:4").exit_code == 2
    assert not (tmp_path / "recipe.toml").exists()
    wrong = model()
    wrong["encoder.weight"][3, 5] = np.nan
    save_file(wrong, tmp_path / "nan.safetensors")
    with pytest.raises(ValueError, match=r"tensor 'encoder\.weight': scores must be finite"):
        ms.checkpoints.allocate(tmp_path / "nan.safetensors", "2:4")


def test_columns_are_pruned_and_verified_in_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "ENTRIES", 1024)
    save_file(layers(), tmp_path / "in.safetensors")
    succeed("prune", tmp_path / "in.safetensors", "-o", tmp_path / "out.safetensors", "--pattern", "16:2:8")
    pruned = load_file(tmp_path / "out.safetensors")
    for name, array in layers().items():
        if array.ndim == 2:
            expected = ms.solve(np.abs(array), "16:2:8").mask
            assert np.array_equal(pruned[name] != 0, expected & (array != 0))
    assert "ok" in succeed("verify", tmp_path / "out.safetensors", "--pattern", "16:2:8")


@pytest.mark.parametrize("pattern", ["4:8 pair", "4:8-T pair", "2:4 x 4:8", "2:4 x 6:8 at_most", "64:2:8"])
def test_recipes_of_every_kind_of_pattern(tmp_path: Path, pattern: str) -> None:
    save_file(layers(), tmp_path / "in.safetensors")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'[patterns]\n"layers.0.*" = "dense"\n"layers.*" = "{pattern}"\n')
    succeed("prune", tmp_path / "in.safetensors", "--recipe", recipe, "-o", tmp_path / "out.safetensors")
    pruned = load_file(tmp_path / "out.safetensors")
    for name, array in layers().items():
        if array.ndim != 2 or name.startswith("layers.0."):
            assert np.array_equal(pruned[name], array)
        elif ms.Pattern(pattern).misfit(array.shape) is None:
            assert np.array_equal(pruned[name] != 0, ms.solve(np.abs(array), pattern).mask & (array != 0))
        else:
            assert np.array_equal(pruned[name], array)
    assert "ok" in succeed("verify", tmp_path / "out.safetensors", "--recipe", recipe)


@pytest.mark.parametrize("pattern", ["4:8 pair", "4:8-T pair", "2:4 x 4:8"])
def test_allocating_every_kind_of_pattern(tmp_path: Path, pattern: str) -> None:
    save_file(layers(), tmp_path / "in.safetensors")
    recipe = tmp_path / "recipe.toml"
    succeed("allocate", tmp_path / "in.safetensors", "-o", recipe, "--pattern", pattern)
    succeed("prune", tmp_path / "in.safetensors", "--recipe", recipe, "-o", tmp_path / "out.safetensors")
    succeed("verify", tmp_path / "out.safetensors", "--recipe", recipe)


def test_columns_have_no_n_to_allocate(tmp_path: Path) -> None:
    save_file(layers(), tmp_path / "in.safetensors")
    told = fail(
        "allocate", tmp_path / "in.safetensors", "-o", tmp_path / "recipe.toml", "--pattern", "64:2:8"
    )
    assert "pattern must have an n to choose" in told
