"""Dense and sparse tiles in checkpoints: chosen for all tensors, pruned by the recipe, and proven again."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from weight_files import fail, gaussian, succeed

import masksolve as ms
from masksolve.checkpoints import certificates, work
from masksolve.checkpoints.dense_grid import DenseGrid


def layers() -> dict[str, np.ndarray]:
    found = {f"layers.{i}.up.weight": (1 + i / 4) * gaussian(48, 64, seed=i) for i in range(3)}
    found["layers.0.down.weight"] = gaussian(64, 40, dtype=np.float16, seed=9)
    return found | {"norm.weight": gaussian(64)}


def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    save_file(layers(), tmp_path / "in" / "model.safetensors")
    return tmp_path / "in"


def pruned(path: Path) -> dict[str, np.ndarray]:
    return load_file(path / "model.safetensors")


@pytest.mark.parametrize("entries", [work.ENTRIES, 1024])
@pytest.mark.parametrize("pattern", ["2:4", "4:8-T", "8:2:8", "2:4 at_most axis=-2"])
def test_a_checkpoint_is_pruned_as_arrays_are(
    tmp_path: Path, pattern: str, entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (work, certificates):
        monkeypatch.setattr(module, "ENTRIES", entries)
    path = source(tmp_path)
    found = ms.checkpoints.dense_tiles(path, pattern, share=0.3, tile=(16, 24))
    arrays = {name: array for name, array in layers().items() if array.ndim == 2}
    # The bits of float16 are those of the file, so that what is worth what is the same.
    wanted = ms.dense_tiles(arrays, pattern, share=0.3, tile=(16, 24), score="magnitude")
    assert all(np.array_equal(found.dense[name], wanted.dense[name]) for name in arrays)
    assert found.masks is None
    assert found.objective == pytest.approx(wanted.objective)
    assert found.bound >= wanted.objective
    assert found.recipe() == wanted.recipe()
    proof = tmp_path / "proof.safetensors"
    report = ms.checkpoints.prune(path, tmp_path / "out", recipe=found.recipe(), certificate=proof)
    result = pruned(tmp_path / "out")
    for name, array in arrays.items():
        assert np.array_equal(result[name], np.where(wanted.masks[name], array, 0)), name
    assert sum(tensor.objective for tensor in report.pruned) == pytest.approx(found.objective)
    assert sum(tensor.bound for tensor in report.pruned) == pytest.approx(found.objective)
    assert ms.checkpoints.verify(tmp_path / "out").ok  # by its own masksolve.json
    assert ms.checkpoints.verify(tmp_path / "out", recipe=found.recipe()).ok
    assert not ms.checkpoints.verify(tmp_path / "out", pattern).ok
    proofs = ms.checkpoints.verify(tmp_path / "out", certificate=proof, original=path).proofs
    assert all(each.wrong is None for each in proofs)
    assert sum(each.optimal for each in proofs) == len(arrays)


def test_what_breaks_the_proof_is_found(tmp_path: Path) -> None:
    path, proof = source(tmp_path), tmp_path / "proof.safetensors"
    recipe = ms.checkpoints.dense_tiles(path, "2:4", share=0.3, tile=16).recipe()
    ms.checkpoints.prune(path, tmp_path / "out", recipe=recipe, certificate=proof)
    good, name = pruned(tmp_path / "out"), "layers.2.up.weight"
    grid = DenseGrid.read(recipe[name]).grid((48, 64))
    (row, column), (other_row, other_column) = np.argwhere(grid)[0] * 16, np.argwhere(~grid)[0] * 16
    for place, value, message in (
        ((row, column), 0.0, "a dense tile is not the original one"),
        (
            (other_row, slice(other_column, other_column + 4)),
            layers()[name][other_row, other_column : other_column + 4],
            "violations of '2:4 at_most'",
        ),
    ):
        wrong = {key: array.copy() for key, array in good.items()}
        wrong[name][place] = value
        save_file(wrong, tmp_path / "out" / "model.safetensors")
        proofs = ms.checkpoints.verify(tmp_path / "out", certificate=proof, original=path).proofs
        (bad,) = (each for each in proofs if each.wrong is not None)
        assert bad.name == name
        assert message in bad.wrong
        assert ms.checkpoints.verify(tmp_path / "out").ok == message.startswith("a dense")


def test_a_kept_weight_may_be_zero(tmp_path: Path) -> None:
    weights = {"w.weight": np.round(gaussian(32, 32)), "v.weight": np.zeros((32, 32), np.float32)}
    save_file(weights, tmp_path / "in.safetensors")
    for pattern in ("2:4-T", "8:2:8", "2:4"):
        recipe = ms.checkpoints.dense_tiles(tmp_path / "in.safetensors", pattern, share=0.5, tile=8).recipe()
        ms.checkpoints.prune(
            tmp_path / "in.safetensors",
            tmp_path / "out.safetensors",
            recipe=recipe,
            certificate=tmp_path / "proof.safetensors",
            force=True,
        )
        assert ms.checkpoints.verify(
            tmp_path / "out.safetensors",
            certificate=tmp_path / "proof.safetensors",
            original=tmp_path / "in.safetensors",
        ).ok


def test_the_commands(tmp_path: Path) -> None:
    path, recipe, out = source(tmp_path), tmp_path / "recipe.toml", tmp_path / "out"
    output = succeed(
        "allocate", path, "-o", recipe, "--pattern", "2:4", "--dense-tiles", "0.25", "--tile", "16,16"
    )
    assert "Chosen; other tiles follow 2:4" in output
    assert "dense tiles keep" in output
    said = tomllib.loads(recipe.read_text())["patterns"]["layers.2.up.weight"]
    assert (said["pattern"], said["tile"]) == ("2:4", [16, 16])
    dry = succeed("prune", path, "--recipe", recipe, "-o", out, "--dry-run")
    assert "tiles of 16 x 16 dense" in dry
    assert not out.exists()
    succeed(
        "prune", path, "--recipe", recipe, "-o", out, "--report", tmp_path / "report.json",
        "--html", tmp_path / "page.html", "--certificate", tmp_path / "proof.safetensors",
    )  # fmt: skip
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["tensors"]["model.safetensors:layers.2.up.weight"]["dense"] == said["dense"]
    assert "tiles of 16 x 16 dense" in (tmp_path / "page.html").read_text()
    assert "was complete already" in succeed("prune", path, "--recipe", recipe, "-o", out)
    assert "has changed" not in succeed("verify", out)
    assert "dense tiles, for which this file has no place" in fail(
        "pack", out, "-o", tmp_path / "p.safetensors"
    )
    recipe.write_text(recipe.read_text().replace("[16, 16]", "[8, 16]"))
    assert "has 6 x 4 tiles, for which dense has" in succeed(
        "prune", path, "--recipe", recipe, "--pattern", "2:4", "-o", tmp_path / "other", "--dry-run"
    )


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    path = source(tmp_path)
    recipe = ms.checkpoints.dense_tiles(path, "2:4", share=0.3, tile=16).recipe()
    ms.checkpoints.prune(path, tmp_path / "whole", recipe=recipe)
    solved = []

    def stop(progress: ms.checkpoints.Progress) -> None:
        if progress.phase == "solving":  # the tensors, the copied one among them, finish in any order
            solved.append(progress.tensor)
        if len(solved) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ms.checkpoints.prune(path, tmp_path / "out", recipe=recipe, progress=stop)
    other = ms.checkpoints.dense_tiles(path, "2:4", share=0.4, tile=16).recipe()
    with pytest.raises(ms.CheckpointError, match="begun by a run that differs"):
        ms.checkpoints.prune(path, tmp_path / "out", recipe=other)
    report = ms.checkpoints.prune(path, tmp_path / "out", recipe=recipe)
    assert report.resumed > 0
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"pattern": "2:4", "dense": "f0"}, "tile must be two positive integers, got None"),
        ({"pattern": "2:4", "dense": "f0", "tile": [0, 4]}, "tile must be two positive integers"),
        ({"pattern": "2:4", "dense": "F0", "tile": [16, 16]}, "dense must be hexadecimal digits"),
        ({"pattern": "2:4", "tile": [16, 16]}, "dense must be hexadecimal digits"),
        ({"pattern": "dense", "dense": "f0", "tile": [16, 16]}, "go with a pattern for the other tiles"),
        ({"pattern": "2:4", "dense": "f0", "tile": [16, 16]}, "for which dense has 2 hexadecimal digits"),
        ({"pattern": "2:4", "dense": "f000", "tile": [16, 15]}, "tile must be a multiple of 4"),
        ({"pattern": "2:4", "dense": "f000", "tile": [16, 16], "axes": [1, 0]}, "no tensor"),
    ],
)
def test_wrong_lines_of_a_recipe(tmp_path: Path, line: dict[str, object], message: str) -> None:
    save_file({"w.weight": gaussian(48, 60, 2)}, tmp_path / "in.safetensors")
    if message != "no tensor":
        save_file({"w.weight": gaussian(48, 60)}, tmp_path / "in.safetensors")
    with pytest.raises(ms.CheckpointError, match=message):
        ms.checkpoints.plan(tmp_path / "in.safetensors", recipe={"*": line})


def test_refusals(tmp_path: Path) -> None:
    path, recipe = source(tmp_path), tmp_path / "recipe.toml"
    arguments = ("allocate", path, "-o", recipe, "--pattern", "2:4")
    assert "--tile goes with --dense-tiles" in fail(*arguments, "--tile", "16,16")
    assert "--tile must be rows and columns" in fail(*arguments, "--dense-tiles", "0.5", "--tile", "16")
    assert "--sparsity does not go" in fail(*arguments, "--dense-tiles", "0.5", "--sparsity", "0.5")
    assert "share must be between 0 and 1" in fail(*arguments, "--dense-tiles", "50")
    assert "tile must be a multiple of 4" in fail(*arguments, "--dense-tiles", "0.5", "--tile", "16,18")
    save_file({"w.experts.weight": gaussian(2, 16, 16)}, tmp_path / "experts.safetensors")
    with pytest.raises(ms.CheckpointError, match=r"'w\.experts\.weight' must be a matrix"):
        ms.checkpoints.dense_tiles(tmp_path / "experts.safetensors", "2:4", share=0.5, tile=16)
    wrong = layers()
    wrong["layers.0.up.weight"][3, 5] = np.inf
    save_file(wrong, tmp_path / "inf.safetensors")
    every = {"layers.*": {"pattern": "2:4", "dense": "ff" * 2, "tile": [16, 16]}}
    with pytest.raises(ValueError, match=r"'layers\.0\.up\.weight': scores must be finite"):
        ms.checkpoints.prune(tmp_path / "inf.safetensors", tmp_path / "o.safetensors", recipe=every)
    with pytest.raises(ValueError, match="recipe needs scores by name, each of them a matrix"):
        ms.dense_tiles([gaussian(16, 16)], "2:4", share=0.5, tile=8).recipe()
