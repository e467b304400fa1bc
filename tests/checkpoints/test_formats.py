"""Number formats, torch's files, empty arrays, and cutting tensors into parts."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
from weight_files import check_pruned, gaussian, safetensors_bytes

import masksolve as ms
from masksolve._ext.arrays import magnitude_sum
from masksolve.checkpoints import work
from masksolve.checkpoints.entries import magnitudes_of, weights_of

FORMATS = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
}


@pytest.mark.parametrize("name", FORMATS)
def test_scores_are_magnitudes(name: str) -> None:
    """Every bit pattern of the small formats, and some of the wide ones."""
    width = np.dtype(FORMATS[name]).itemsize
    bits = np.arange(1 << (8 * min(width, 2)), dtype=np.uint64)
    bits = (bits << (8 * (width - min(width, 2)))).astype(f"u{width}")
    with np.errstate(invalid="ignore"):
        values = bits.view(FORMATS[name]).astype(np.float64)
    bits, values = bits[~np.isnan(values)], values[~np.isnan(values)]
    assert np.array_equal(magnitudes_of(bits, name).astype(np.float64), np.abs(values))


@pytest.mark.parametrize("spread", [0.0, 1.0, 60.0])
@pytest.mark.parametrize("size", [1, 16, 4097, 3 * (1 << 17) + 48])
@pytest.mark.parametrize("name", FORMATS)
def test_totals_are_sums_of_magnitudes(name: str, size: int, spread: float) -> None:
    """Of any size and of very different magnitudes."""
    rng = np.random.default_rng(size)
    dtype = FORMATS[name]
    limit = float(ml_dtypes.finfo(dtype).max) / 2
    wide = rng.standard_normal(size) * np.exp(spread * rng.standard_normal(size))
    values = np.clip(wide, -limit, limit).astype(dtype)
    found = magnitude_sum(weights_of(values.view(f"u{values.itemsize}"), name))
    assert found == pytest.approx(math.fsum(np.abs(values.astype(np.float64))), rel=1e-13)


@pytest.mark.parametrize("name", ["F8_E4M3", "F8_E5M2"])
def test_float8_is_kept_bit_for_bit(tmp_path: Path, name: str) -> None:
    weights = gaussian(16, 32).astype(FORMATS[name])
    weights[0, :3] = -0.0
    header = {"w": {"dtype": name, "shape": [16, 32], "data_offsets": [0, 512]}}
    (tmp_path / "m.safetensors").write_bytes(safetensors_bytes(header, weights.tobytes()))
    ms.checkpoints.prune(tmp_path / "m.safetensors", tmp_path / "o.safetensors", "4:8-T")
    after = np.frombuffer((tmp_path / "o.safetensors").read_bytes()[-512:], FORMATS[name]).reshape(16, 32)
    check_pruned(weights.astype(np.float32), after.astype(np.float32), "4:8-T")
    kept = after != 0
    assert np.array_equal(weights[kept].view(np.uint8), after[kept].view(np.uint8))
    assert (after.view(np.uint8)[~kept] & 0x7F == 0).all()


@pytest.mark.parametrize("shape", [(0, 8), (8, 0), (0, 0)])
@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors"])
def test_arrays_without_entries(tmp_path: Path, shape: tuple[int, int], suffix: str) -> None:
    source, target = tmp_path / f"w.{suffix}", tmp_path / f"o.{suffix}"
    weights = np.zeros(shape, np.float32)
    if suffix == "npy":
        np.save(source, weights)
    elif suffix == "npz":
        np.savez(source, w=weights, v=gaussian(4, 4))
    else:
        save_file({"w": weights}, source)
    ms.checkpoints.prune(source, target, "2:4")
    if suffix == "npy":
        assert target.read_bytes() == source.read_bytes()
    assert ms.checkpoints.verify(target, "2:4").ok


CUTS = [
    ((40, 24), "2:4", None),
    ((40, 24), "2:4 axis=0", None),
    ((40, 24), "4:8-T", None),
    ((43, 27), "4:8-T pad", None),
    ((43, 27), "4:8-T dense", None),
    ((43, 24), "2:4 axis=-2 pad", None),
    ((5, 16, 24), "4:8-T", (1, 2)),
    ((5, 13, 24), "4:8-T pad", (1, 2)),
    ((5, 16, 24), "2:4 axis=1", (1, 2)),
    ((16, 24, 3, 3), "2:4-T", (0, 1)),
    ((16, 24, 3, 3), "2:4", (0, 1)),
    ((24, 3, 16), "2:4-T", (2, 0)),
]


@pytest.mark.parametrize(("shape", "pattern", "axes"), CUTS, ids=[f"{case[0]}-{case[1]}" for case in CUTS])
@pytest.mark.parametrize("order", ["C", "F"])
def test_cutting_into_parts_changes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    pattern: str,
    axes: tuple[int, int] | None,
    order: str,
) -> None:
    weights = np.asarray(gaussian(*shape), order=order)
    np.save(tmp_path / "w.npy", weights)
    monkeypatch.setattr(work, "ENTRIES", 200)
    report = ms.checkpoints.prune(tmp_path / "w.npy", tmp_path / "o.npy", pattern, axes=axes)
    after = np.load(tmp_path / "o.npy")
    row, column = axes or (0, 1)
    matrices = [np.moveaxis(array, (row, column), (-2, -1)) for array in (weights, after)]
    check_pruned(matrices[0], matrices[1], pattern)
    whole = ms.solve(np.abs(matrices[0]), pattern)
    (tensor,) = report.tensors
    assert tensor.parts > 1
    assert tensor.objective == pytest.approx(whole.objective, rel=1e-12)
    assert tensor.bound == pytest.approx(whole.bound, rel=1e-6)
    assert tensor.total == pytest.approx(float(np.abs(weights).sum(dtype=np.float64)), rel=1e-12)
    assert tensor.zeros == whole.mask.size - np.count_nonzero(whole.mask)


def test_tiles_are_numbered_through_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = np.zeros((64, 16), np.float32)
    weights[41, 8:] = 1
    np.save(tmp_path / "w.npy", weights)
    (whole,) = ms.checkpoints.verify(tmp_path / "w.npy", "4:8-T").tensors
    monkeypatch.setattr(work, "ENTRIES", 128)
    (cut,) = ms.checkpoints.verify(tmp_path / "w.npy", "4:8-T").tensors
    assert cut == whole
    assert cut.first[0] == "tile 11, row 1 keeps 8, expected at most 4"


def test_a_plan_writes_nothing_and_estimates(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", gaussian(16, 16))
    plan = ms.checkpoints.plan(tmp_path / "w.npy", "4:8-T")
    assert [(step.entry.name, step.pattern) for step in plan.steps] == [("w", "4:8-T")]
    assert plan.bytes == 1024
    assert plan.seconds() > 0
    assert [file.name for file in tmp_path.iterdir()] == ["w.npy"]


MEASURED = """
import sys
import masksolve as ms
ms.checkpoints.prune(sys.argv[1], sys.argv[2], "2:4-T", workers=2)
with open("/proc/self/status") as status:  # getrusage counts what the process was before it became Python
    print(next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory otherwise")
def test_memory_does_not_grow_with_the_checkpoint(tmp_path: Path) -> None:
    """A file of 384 MB, most of it one tensor: the limit is 200 MB, whatever the file."""
    shapes = {"large": [8192, 16384], "small": [4096, 8192], "left.embed": [4096, 8192]}
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * shape[1]
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    source = tmp_path / "m.safetensors"
    source.write_bytes(safetensors_bytes(header))
    os.truncate(source, source.stat().st_size + end)
    command = [sys.executable, "-c", MEASURED, str(source), str(tmp_path / "o.safetensors")]
    megabytes = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert megabytes < 200


# Files of torch


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_files_of_torch(tmp_path: Path, suffix: str) -> None:
    torch = pytest.importorskip("torch")
    safetensors_torch = pytest.importorskip("safetensors.torch")
    generator = torch.Generator().manual_seed(0)
    state = {
        "a.weight": torch.randn(16, 32, generator=generator).bfloat16(),
        "b.weight": torch.nn.Parameter(torch.randn(8, 8, generator=generator)),
        "c.weight": torch.randn(8, 8, generator=generator).to(torch.float8_e4m3fn),
        "bias": torch.randn(7, generator=generator),
        "steps": torch.arange(3),
        "none": torch.zeros(0, 4),
    }
    state["tied.weight"] = state["a.weight"]
    state["half.weight"] = torch.randn(32, 16, generator=generator)[8:24]
    torch.save(state, tmp_path / f"m{suffix}")
    ms.checkpoints.prune(tmp_path / f"m{suffix}", tmp_path / "o.safetensors", "2:4-T")
    after = safetensors_torch.load_file(tmp_path / "o.safetensors")
    assert set(after) == set(state)
    for name, tensor in state.items():
        assert after[name].dtype == tensor.dtype
        before, pruned = (array.detach().float().numpy() for array in (tensor, after[name]))
        if name.endswith("weight"):
            check_pruned(before, pruned, "2:4-T")
        else:
            assert np.array_equal(before, pruned)


def test_a_folder_of_torch_files(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    source = tmp_path / "in"
    source.mkdir()
    places = {}
    for number in (1, 2):
        name = f"pytorch_model-{number:05}-of-00002.bin"
        torch.save({f"layers.{number}.weight": torch.randn(8, 8)}, source / name)
        places[f"layers.{number}.weight"] = name
    index = '{"metadata": {}, "weight_map": %s}' % str(places).replace("'", '"')  # noqa: UP031
    (source / "pytorch_model.bin.index.json").write_text(index)
    ms.checkpoints.prune(source, tmp_path / "out", "2:4")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "masksolve.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ]
    assert (
        "model-00002-of-00002.safetensors" in (tmp_path / "out" / "model.safetensors.index.json").read_text()
    )


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("never printed",)


def test_pickles_are_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    for name, content, message in (
        ("evil.pt", {"w": torch.ones(4, 4), "x": Evil()}, "without pickled objects"),
        ("list.pt", [torch.ones(4, 4)], "tensors by name"),
        ("nested.pt", {"epoch": 3, "state_dict": {"w": torch.ones(4, 4)}}, "save the state dict alone"),
        ("view.pt", {"w": torch.ones(4, 8).T}, "contiguous"),
        ("complex.pt", {"w": torch.ones(4, 8, dtype=torch.complex64)}, "complex64"),
    ):
        torch.save(content, tmp_path / name)
        with pytest.raises(ms.CheckpointError, match=message):
            ms.checkpoints.prune(tmp_path / name, tmp_path / "o.safetensors", "2:4")
    torch.save({"w": torch.ones(4, 4)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ms.CheckpointError, match="zip file"):
        ms.checkpoints.prune(tmp_path / "old.pt", tmp_path / "o.safetensors", "2:4")
    assert "never printed" not in capsys.readouterr().out
