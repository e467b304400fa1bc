"""``masksolve prune`` on single files, as a user meets it."""

from __future__ import annotations

import json
import os
import re
import stat
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors
from safetensors.numpy import save_file
from weight_files import METADATA, check_pruned, fail, gaussian, model, run, succeed

# prune: the three formats


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path: Path, dtype: object, order: str) -> None:
    weights = np.asarray(gaussian(16, 24), dtype=dtype, order=order)
    np.save(tmp_path / "w.npy", weights)
    output = succeed("prune", tmp_path / "w.npy", "-o", tmp_path / "out.npy", "--pattern", "4:8-T")
    pruned = np.load(tmp_path / "out.npy")
    assert pruned.dtype == weights.dtype
    assert pruned.flags.f_contiguous == weights.flags.f_contiguous
    check_pruned(weights, pruned, "4:8-T")
    assert "16x24" in output
    assert "optimal (exact)" in output
    assert np.array_equal(np.load(tmp_path / "w.npy"), weights)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path: Path, save: object) -> None:
    arrays = {name: array for name, array in model().items() if array.dtype != ml_dtypes.bfloat16}
    save(tmp_path / "m.npz", **arrays)
    succeed("prune", tmp_path / "m.npz", "-o", tmp_path / "out.npz", "--pattern", "4:8-T")
    with zipfile.ZipFile(tmp_path / "m.npz") as old, zipfile.ZipFile(tmp_path / "out.npz") as new:
        assert [(m.filename, m.compress_type) for m in old.infolist()] == [
            (m.filename, m.compress_type) for m in new.infolist()
        ]
    with np.load(tmp_path / "out.npz") as pruned:
        for name, array in arrays.items():
            assert pruned[name].dtype == array.dtype
            if name in ("encoder.weight", "encoder.half", "encoder.double"):
                check_pruned(array, pruned[name], "4:8-T")
            else:
                assert np.array_equal(pruned[name], array)


def test_safetensors(tmp_path: Path) -> None:
    arrays = model()
    save_file(arrays, tmp_path / "m.safetensors", METADATA)
    output = succeed(
        "prune", tmp_path / "m.safetensors", "-o", tmp_path / "out.safetensors", "--pattern", "4:8-T"
    )
    with safetensors.safe_open(tmp_path / "out.safetensors", framework="np") as file:
        assert file.metadata() == METADATA
        assert set(file.keys()) == set(arrays)
        for name, array in arrays.items():
            pruned = file.get_tensor(name)
            assert pruned.dtype == array.dtype
            if name.startswith("encoder"):
                check_pruned(array, pruned, "4:8-T")
            else:
                assert np.array_equal(pruned, array)
    for reason in ("m=8 does not divide", "1 axis", "4 axes (see --axes)", "dtype I64"):
        assert reason in output
    assert "4 of 8" in output


def test_safetensors_keeps_what_numpy_has_no_name_for(tmp_path: Path) -> None:
    """What the header says and the bytes of other tensors come through as they are."""
    weights = gaussian(4, 4)
    entries = {
        "__metadata__": {"a": "b"},
        "w": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]},
        "small": {"dtype": "F8_E8M0", "shape": [2, 4], "data_offsets": [64, 72]},
        "none": {"dtype": "F32", "shape": [0, 4], "data_offsets": [72, 72]},
    }
    header = json.dumps(entries).encode()
    tail = bytes(range(8))
    source, target = tmp_path / "m.safetensors", tmp_path / "out.safetensors"
    source.write_bytes(len(header).to_bytes(8, "little") + header + weights.tobytes() + tail)
    assert "F8_E8M0" in succeed("prune", source, "-o", target, "--pattern", "2:4")
    written = target.read_bytes()
    start = 8 + int.from_bytes(written[:8], "little")
    assert json.loads(written[8:start]) == entries
    assert written[start + 64 :] == tail
    check_pruned(weights, np.frombuffer(written[start : start + 64], np.float32).reshape(4, 4), "2:4")


def test_weights_of_zero_may_be_kept(tmp_path: Path) -> None:
    """Fewer non-zeros than the pattern keeps are no violation unless one asks."""
    weights = gaussian(8, 8)
    weights[0] = 0
    np.save(tmp_path / "w.npy", weights)
    succeed("prune", tmp_path / "w.npy", "-o", tmp_path / "out.npy", "--pattern", "2:4-T")
    assert "ok" in succeed("verify", tmp_path / "out.npy", "--pattern", "2:4-T")
    result = run("verify", tmp_path / "out.npy", "--pattern", "2:4-T", "--exactly")
    assert result.exit_code == 1
    assert "row 0 keeps 0, expected exactly 2" in result.output


@pytest.mark.parametrize(
    "pattern", ["4:8-T pad", "4:8-T dense", "2:4 axis=0", "1:4 at_most", "4:8-T at_most"]
)
def test_patterns(tmp_path: Path, pattern: str) -> None:
    weights = gaussian(*((12, 20) if "pad" in pattern or "dense" in pattern else (8, 16)))
    np.save(tmp_path / "w.npy", weights)
    succeed("prune", tmp_path / "w.npy", "-o", tmp_path / "out.npy", "--pattern", pattern)
    check_pruned(weights, np.load(tmp_path / "out.npy"), pattern)
    succeed("verify", tmp_path / "out.npy", "--pattern", pattern)


# prune: options


def test_include_and_exclude(tmp_path: Path) -> None:
    arrays = {"a.weight": gaussian(8, 8), "b.weight": gaussian(8, 8), "b.other": gaussian(8, 8)}
    np.savez(tmp_path / "m.npz", **arrays)
    chosen = ("--pattern", "2:4", "--include", "*.weight", "--exclude", "b.*")
    output = succeed("prune", tmp_path / "m.npz", "-o", tmp_path / "out.npz", *chosen)
    assert "not included" not in output.splitlines()[3]
    assert re.search(r"excluded +1 +b\.weight", output)
    assert re.search(r"not included +1 +b\.other", output)
    with np.load(tmp_path / "out.npz") as pruned:
        check_pruned(arrays["a.weight"], pruned["a.weight"], "2:4")
        assert np.array_equal(pruned["b.weight"], arrays["b.weight"])
        assert np.array_equal(pruned["b.other"], arrays["b.other"])
    succeed("verify", tmp_path / "out.npz", *chosen)
    assert run("verify", tmp_path / "out.npz", "--pattern", "2:4").exit_code == 1


@pytest.mark.parametrize(("axes", "where"), [("0,1", (0, 1)), ("-2,-1", (-2, -1)), ("1,-1", (1, -1))])
def test_axes_of_convolutions(tmp_path: Path, axes: str, where: tuple[int, int]) -> None:
    weights = gaussian(8, 8, 4, 8)
    np.save(tmp_path / "w.npy", weights)
    arguments = ("--pattern", "2:4-T", "--axes", axes)
    succeed("prune", tmp_path / "w.npy", "-o", tmp_path / "out.npy", *arguments)
    before, after = (
        np.moveaxis(array, where, (-2, -1)) for array in (weights, np.load(tmp_path / "out.npy"))
    )
    check_pruned(before, after, "2:4-T")
    succeed("verify", tmp_path / "out.npy", *arguments)


def test_backend_option_and_workers(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", gaussian(16, 16))
    arguments = (
        "prune",
        tmp_path / "w.npy",
        "-o",
        tmp_path / "out.npy",
        "--pattern",
        "4:8-T",
        "--workers",
        "2",
    )
    assert "unproven" in succeed(*arguments, "--backend", "greedy")
    assert "unproven" not in succeed(*arguments, "--backend", "greedy", "--option", "bound=true")
    assert "optimal (highs)" in succeed(*arguments, "--backend", "highs", "--option", "method=milp")


def test_output_may_replace_the_input_only_on_demand(tmp_path: Path) -> None:
    weights = gaussian(8, 8)
    source = tmp_path / "w.npy"
    np.save(source, weights)
    (tmp_path / "alias.npy").symlink_to(source)
    for target in (source, tmp_path / "alias.npy"):
        assert "--force" in fail("prune", source, "-o", target, "--pattern", "2:4")
        assert np.array_equal(np.load(source), weights)
    succeed("prune", source, "-o", tmp_path / "alias.npy", "--pattern", "2:4", "--force")
    check_pruned(weights, np.load(source), "2:4")
    assert (tmp_path / "alias.npy").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["alias.npy", "w.npy"]


def test_an_existing_output_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", gaussian(8, 8))
    target = tmp_path / "out.npy"
    target.write_bytes(b"old")
    target.chmod(0o640)
    succeed("prune", tmp_path / "w.npy", "-o", target, "--pattern", "2:4")
    assert np.load(target).shape == (8, 8)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
