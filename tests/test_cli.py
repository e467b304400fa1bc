"""The command line, as a user meets it."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors
from click.testing import CliRunner, Result
from safetensors.numpy import save_file

import masksolve as ms
from masksolve.backends.networkx import Networkx
from masksolve.cli import demo
from masksolve.cli.app import cli

METADATA = {"format": "pt", "note": "keep me [bold]as I am[/bold]"}


def run(*arguments: object, width: int = 100) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], env={"COLUMNS": str(width)})


def succeed(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def fail(*arguments: object, status: int = 2) -> str:
    """The one line on standard error with which a command refuses."""
    result = run(*arguments)
    assert result.exit_code == status, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("masksolve: ")
    return lines[0]


def gaussian(*shape: int, dtype: object = np.float32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def model() -> dict[str, np.ndarray]:
    return {
        "encoder.weight": gaussian(16, 32),
        "encoder.half": gaussian(8, 16, dtype=np.float16, seed=1),
        "encoder.brain": gaussian(16, 8, dtype=ml_dtypes.bfloat16, seed=2),
        "encoder.double": gaussian(8, 8, dtype=np.float64, seed=3),
        "head.weight": gaussian(10, 16, seed=4),
        "bias": gaussian(16, seed=5),
        "conv": gaussian(8, 16, 3, 3, seed=6),
        "steps": np.arange(64).reshape(8, 8),
    }


def check_pruned(before: np.ndarray, after: np.ndarray, pattern: str) -> None:
    """``after`` is ``before`` where an optimal mask keeps, and zero elsewhere."""
    scores = np.abs(before)
    mask = after != 0
    assert ms.verify(mask, pattern)
    assert np.array_equal(after[mask], before[mask])
    expected = ms.solve(scores, pattern)
    assert float(scores[mask].sum(dtype=np.float64)) == pytest.approx(expected.objective, rel=1e-12)


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
    for reason in ("10 is not a multiple of 8", "1 axis", "4 axes (see --axes)", "dtype I64"):
        assert reason in output
    assert "4 of 8" in output


def test_safetensors_keeps_what_numpy_has_no_name_for(tmp_path: Path) -> None:
    """The header and the bytes of other tensors come through as they are."""
    weights = gaussian(4, 4)
    entries = {
        "__metadata__": {"a": "b"},
        "w": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]},
        "small": {"dtype": "F8_E4M3", "shape": [2, 4], "data_offsets": [64, 72]},
        "none": {"dtype": "F32", "shape": [0, 4], "data_offsets": [72, 72]},
    }
    header = json.dumps(entries).encode()
    tail = bytes(range(8))
    source, target = tmp_path / "m.safetensors", tmp_path / "out.safetensors"
    source.write_bytes(len(header).to_bytes(8, "little") + header + weights.tobytes() + tail)
    assert "F8_E4M3" in succeed("prune", source, "-o", target, "--pattern", "2:4")
    written = target.read_bytes()
    start = 8 + len(header)
    assert written[:start] == source.read_bytes()[:start]
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
    assert re.search(r"b\.weight.*skipped: excluded", output)
    assert re.search(r"b\.other.*skipped: not included", output)
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


# What it must withstand


def _npz(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _safetensors(header: dict[str, object], data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


GOOD = _npy(gaussian(8, 8))
GOOD_SAFETENSORS = _safetensors(
    {"w": {"dtype": "F32", "shape": [8, 8], "data_offsets": [0, 256]}}, bytes(256)
)
WITH_NAN = gaussian(8, 8)
WITH_NAN[1, 2] = np.nan
BAD_FILES = [
    ("empty.npy", b"", "whole .npy file"),
    ("empty.npz", b"", "whole .npz file"),
    ("empty.safetensors", b"", "whole .safetensors file.*empty"),
    ("truncated.npy", GOOD[:-5], "whole .npy file"),
    ("header.npy", GOOD[:20], "whole .npy file"),
    ("longer.npy", GOOD + b"x", "after the end"),
    ("truncated.npz", _npz(w=GOOD)[:-40], "whole .npz file"),
    ("member.npz", _npz(w=GOOD[:-5]), "whole .npz file"),
    ("sum.npz", _npz(w=GOOD).replace(GOOD, GOOD[:-4] + b"abcd", 1), "whole .npz file"),
    ("foreign.npz", _npz(w=GOOD).replace(b"w.npy", b"w.txt"), "not an array"),
    ("truncated.safetensors", GOOD_SAFETENSORS[:-5], "whole .safetensors file"),
    ("header.safetensors", GOOD_SAFETENSORS[:20], "whole .safetensors file"),
    ("mislabelled.npy", _npz(w=GOOD), "whole .npy file"),
    ("mislabelled.npz", GOOD, "whole .npz file"),
    ("mislabelled.safetensors", GOOD, "whole .safetensors file"),
    ("text.npy", b"1 2 3\n", "whole .npy file"),
    ("objects.npy", _npy(np.array([{}, 1], dtype=object)), "without pickled objects"),
    ("objects.npz", _npz(w=_npy(np.array([{}, 1], dtype=object))), "without pickled objects"),
    ("bare.npy", b"\x80\x04}\x94.", "without pickled objects"),
    ("huge.npy", GOOD.replace(b"(8, 8)", b"(9**9,9**9)"[:6]), "whole .npy file"),
    ("nan.npy", _npy(WITH_NAN), r"tensor 'nan'.*finite.*nan at index \[1, 2\]"),
    ("nan.npz", _npz(fine=GOOD, layer=_npy(WITH_NAN)), r"tensor 'layer'.*finite.*nan"),
    (
        "nan.safetensors",
        _safetensors({"q": {"dtype": "F32", "shape": [8, 8], "data_offsets": [0, 256]}}, WITH_NAN.tobytes()),
        r"tensor 'q'.*finite.*nan",
    ),
    ("infinite.npy", _npy(np.full((8, 8), -np.inf, np.float32)), "tensor 'infinite'.*finite.*inf"),
    ("weights.pt", GOOD, r"must end in one of .npy, .npz, .safetensors; got suffix '.pt'"),
    ("weights", GOOD, "must end in one of"),
    ("complex.npy", _npy(np.ones((8, 8), complex)), "'complex': dtype complex128"),
    ("text_array.npy", _npy(np.array([["a", "b"]] * 2)), "dtype <U1"),
    ("dates.npy", _npy(np.zeros((8, 8), "M8[s]")), "dtype datetime64"),
    ("integers.npy", _npy(np.ones((8, 8), int)), "dtype int64 is not float16"),
    ("brain.npy", _npy(gaussian(8, 8, dtype=ml_dtypes.bfloat16)), "bfloat16"),
    ("vector.npy", _npy(gaussian(8)), "1 axis"),
    ("scalar.npy", _npy(np.float32(1)), "0 axes"),
    ("odd.npy", _npy(gaussian(8, 9)), "9 is not a multiple of 4"),
    ("batch.npy", _npy(gaussian(2, 8, 8)), r"3 axes \(see --axes\)"),
    ("nothing.npz", _npz(), "none at all"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES, ids=[case[0] for case in BAD_FILES])
def test_bad_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    source = tmp_path / name
    source.write_bytes(content)
    target = tmp_path / "out" / name
    target.parent.mkdir()
    line = fail("prune", source, "-o", target, "--pattern", "2:4-T")
    assert re.search(message, line), line
    assert source.read_bytes() == content
    assert list(target.parent.iterdir()) == []
    line = fail("prune", source, "-o", source, "--pattern", "2:4-T", "--force")
    assert re.search(message, line), line
    assert source.read_bytes() == content
    assert list(tmp_path.iterdir()) == [target.parent, source] or sorted(os.listdir(tmp_path)) == sorted(
        ["out", name]
    )
    if "nan" not in message and "inf" not in message:
        assert re.search(message, fail("verify", source, "--pattern", "2:4-T"))


BAD_ARGUMENTS = [
    (["--pattern", "8:4"], "n must be between 1 and m=4"),
    (["--pattern", "0:4"], "n must be between 1 and m=4"),
    (["--pattern", "1:0"], "m must be between"),
    (["--pattern", "2:128"], "m must be between 1 and 64"),
    (["--pattern", "2/4"], "pattern must look like.*got '2/4'"),
    (["--pattern", "4:8-T axis=0"], "axis belongs to one-directional"),
    (["--pattern", "2:4 axis=3"], "has no axis 3"),
    (["--pattern", "2:4", "--backend", "magic"], "backend must be one of.*got 'magic'"),
    (["--pattern", "2:4", "--workers", "0"], "workers must be at least 1"),
    (["--pattern", "2:4", "--option", "speed=9"], "has no option 'speed'"),
    (["--pattern", "2:4", "--option", "speed"], "--option must be NAME=VALUE"),
    (["--pattern", "2:4", "--option", "keep=true"], "--option must be NAME=VALUE"),
    (["--pattern", "2:4", "--include", "x*"], "'w': not included"),
    (["--pattern", "2:4", "--axes", "1"], "--axes must be two axis numbers"),
    (["--pattern", "2:4", "--axes", "1,1"], "--axes must be two different axes"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), BAD_ARGUMENTS, ids=[" ".join(case[0]) for case in BAD_ARGUMENTS]
)
def test_bad_arguments(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "w.npy").write_bytes(GOOD)
    line = fail("prune", tmp_path / "w.npy", "-o", tmp_path / "out.npy", *arguments)
    assert re.search(message, line), line
    assert os.listdir(tmp_path) == ["w.npy"]


def test_bad_axes(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", gaussian(2, 8, 8))
    bad = (("0,3", "no two axes 0,3"), ("2,-1", "no two axes 2,-1"), ("0,1", "2 is not a multiple of 4"))
    for axes, message in bad:
        line = fail(
            "prune", tmp_path / "w.npy", "-o", tmp_path / "o.npy", "--pattern", "2:4-T", "--axes", axes
        )
        assert message in line


def test_missing_input(tmp_path: Path) -> None:
    for suffix in ("npy", "npz", "safetensors"):
        missing = tmp_path / f"no.{suffix}"
        assert "No such file" in fail("prune", missing, "-o", tmp_path / f"out.{suffix}", "--pattern", "2:4")
        assert "No such file" in fail("verify", missing, "--pattern", "2:4")
        (tmp_path / f"folder.{suffix}").mkdir()
        assert "regular file" in fail("verify", tmp_path / f"folder.{suffix}", "--pattern", "2:4")
    assert not [name for name in os.listdir(tmp_path) if not name.startswith("folder")]


def test_bad_output(tmp_path: Path) -> None:
    source = tmp_path / "w.npy"
    source.write_bytes(GOOD)
    (tmp_path / "folder.npy").mkdir()
    os.mkfifo(tmp_path / "pipe.npy")
    for target, message in (
        (tmp_path / "missing" / "out.npy", "cannot be written: No such file or directory"),
        (source / "out.npy", "cannot be written: Not a directory"),
        (tmp_path / "folder.npy", "regular file"),
        (tmp_path / "pipe.npy", "regular file"),
        (tmp_path / "out.npz", "must end in .npy"),
    ):
        assert message in fail("prune", source, "-o", target, "--pattern", "2:4")
    assert sorted(os.listdir(tmp_path)) == ["folder.npy", "pipe.npy", "w.npy"]
    assert source.read_bytes() == GOOD


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_output_without_permission(tmp_path: Path) -> None:
    (tmp_path / "w.npy").write_bytes(GOOD)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "Permission denied" in fail(
        "prune", tmp_path / "w.npy", "-o", locked / "o.npy", "--pattern", "2:4"
    )
    target = tmp_path / "out.npy"
    target.write_bytes(b"old")
    target.chmod(0o400)
    assert "read-only" in fail("prune", tmp_path / "w.npy", "-o", target, "--pattern", "2:4")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write fails at the very end; the old output survives and no temporary stays."""
    (tmp_path / "w.npy").write_bytes(GOOD)
    (tmp_path / "out.npy").write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in fail(
        "prune", tmp_path / "w.npy", "-o", tmp_path / "out.npy", "--pattern", "2:4"
    )
    assert sorted(os.listdir(tmp_path)) == ["out.npy", "w.npy"]
    assert (tmp_path / "out.npy").read_bytes() == b"old"


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.npy").write_bytes(GOOD)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ms, "solve", interrupt)
    result = run("prune", tmp_path / "w.npy", "-o", tmp_path / "w.npy", "--pattern", "2:4", "--force")
    assert result.exit_code == 1
    assert os.listdir(tmp_path) == ["w.npy"]
    assert (tmp_path / "w.npy").read_bytes() == GOOD


# verify


def test_verify_reports_every_tensor(tmp_path: Path) -> None:
    pruned = gaussian(8, 8)
    pruned[~ms.solve(np.abs(pruned), "2:4-T").mask] = 0
    broken = pruned.copy()
    broken[5, 4:] = 1
    save_file({"fine": pruned, "broken": broken, "bias": gaussian(8)}, tmp_path / "m.safetensors")
    result = run("verify", tmp_path / "m.safetensors", "--pattern", "2:4-T")
    assert result.exit_code == 1
    assert re.search(r"fine +8x8 +ok", result.output)
    assert re.search(r"bias +8 +skipped: 1 axis", result.output)
    assert "tile 3, row 1 keeps 4, expected at most 2" in result.output
    assert (
        run("verify", tmp_path / "m.safetensors", "--pattern", "2:4-T", "--exclude", "broken").exit_code == 0
    )


def test_verify_looks_at_columns_of_transposable_patterns(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.tile([1.0, 0.0], (4, 2)))
    assert run("verify", tmp_path / "w.npy", "--pattern", "2:4").exit_code == 0
    assert run("verify", tmp_path / "w.npy", "--pattern", "2:4-T").exit_code == 1


def test_names_cannot_command_the_terminal(tmp_path: Path) -> None:
    save_file({"a\x1b[2J[red]": gaussian(4, 4)}, tmp_path / "m.safetensors")
    output = succeed(
        "prune", tmp_path / "m.safetensors", "-o", tmp_path / "o.safetensors", "--pattern", "2:4"
    )
    assert "\x1b" not in output
    assert "[red]" in output


# backends, version, demo


def test_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Networkx, "requires", "no_such_module")
    lines = succeed("backends").splitlines()
    for info in ms.backends():
        (row,) = (line for line in lines if re.match(rf" ?{info.name} ", line))
        assert ("exact " if info.exact else "heuristic ") in row
        assert row.split()[-1] == ("yes" if info.unavailable is None else "no")
    assert 'networkx: needs no_such_module: pip install "masksolve[networkx]"' in lines


def test_version() -> None:
    assert succeed("--version").strip() == f"masksolve {ms.__version__}"


@pytest.mark.parametrize("width", [80, 100])
def test_demo(width: int) -> None:
    result = run("demo", width=width)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert "\x1b" not in result.stdout
    rows = {line.split()[0]: line for line in lines if re.match(r" ?\d+:\d+", line)}
    assert tuple(rows) == demo.PATTERNS


def test_demo_tells_the_truth() -> None:
    network, images, labels = demo._load()
    assert network.accuracy(images, labels) > 0.95
    for name in ("2:4", "4:8-T", "16:32-T"):
        outcome = demo.prune(network, name, images, labels)
        hidden = [np.abs(weights).astype(np.float64) for weights in network.weights[:-1]]
        best = sum(ms.solve(scores, name, backend="highs").objective for scores in hidden)
        assert outcome.exact == pytest.approx(best / sum(map(np.sum, hidden)), rel=1e-6)
        assert outcome.greedy <= outcome.exact + 1e-12
        assert outcome.gap <= 1e-6
        assert 0.8 < outcome.accuracy <= 1


def test_pruning_the_shipped_network_with_the_command_gives_the_accuracy_of_the_demo(tmp_path: Path) -> None:
    network, images, labels = demo._load()
    source = Path(demo.__file__).parent.parent / "data" / "digits_mlp.npz"
    target = tmp_path / "pruned.npz"
    succeed("prune", source, "-o", target, "--pattern", "4:8-T", "--exclude", "layer3.*")
    with np.load(target) as archive:
        weights = [archive[f"layer{layer}.weight"] for layer in (1, 2, 3)]
    accuracy = demo.Network(weights, network.biases).accuracy(images, labels)
    assert accuracy == demo.prune(network, "4:8-T", images, labels).accuracy


# The real program


def program(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "masksolve.cli", *map(str, arguments)],
        capture_output=True,
        check=False,
        encoding="utf-8",
        env={**os.environ, **environment},
    )


def test_program(tmp_path: Path) -> None:
    (tmp_path / "w.npy").write_bytes(GOOD)
    assert (
        program("prune", tmp_path / "w.npy", "-o", tmp_path / "o.npy", "--pattern", "2:4-T").returncode == 0
    )
    assert program("verify", tmp_path / "o.npy", "--pattern", "2:4-T").returncode == 0
    refused = program("verify", tmp_path / "w.npy", "--pattern", "2:4-T")
    assert refused.returncode == 1
    assert refused.stderr == ""
    missing = program("verify", tmp_path / "none.npy", "--pattern", "2:4-T")
    assert missing.returncode == 2
    assert "Traceback" not in missing.stderr


def test_program_where_only_ascii_can_be_printed() -> None:
    shown = program("demo", PYTHONIOENCODING="ascii", PYTHONUTF8="0", COLUMNS="80")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.isascii()


def test_a_missing_package_is_named_with_its_remedy() -> None:
    code = "import sys; sys.modules['rich'] = None; from masksolve.cli import main; main()"
    refused = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr == 'masksolve: the command line needs rich: pip install "masksolve[cli]"\n'
