"""What ``masksolve prune`` and ``verify`` refuse, and that nothing is left behind."""

from __future__ import annotations

import os
import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
from weight_files import GOOD, fail, gaussian, npy_bytes, npz_bytes, run, safetensors_bytes

import masksolve as ms
from masksolve.checkpoints import work

GOOD_SAFETENSORS = safetensors_bytes(
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
    ("truncated.npz", npz_bytes(w=GOOD)[:-40], "whole .npz file"),
    ("member.npz", npz_bytes(w=GOOD[:-5]), "whole .npz file"),
    ("sum.npz", npz_bytes(w=GOOD).replace(GOOD, GOOD[:-4] + b"abcd", 1), "whole .npz file"),
    ("foreign.npz", npz_bytes(w=GOOD).replace(b"w.npy", b"w.txt"), "not an array"),
    ("truncated.safetensors", GOOD_SAFETENSORS[:-5], "whole .safetensors file"),
    ("header.safetensors", GOOD_SAFETENSORS[:20], "whole .safetensors file"),
    ("mislabelled.npy", npz_bytes(w=GOOD), "whole .npy file"),
    ("mislabelled.npz", GOOD, "whole .npz file"),
    ("mislabelled.safetensors", GOOD, "whole .safetensors file"),
    ("text.npy", b"1 2 3\n", "whole .npy file"),
    ("objects.npy", npy_bytes(np.array([{}, 1], dtype=object)), "without pickled objects"),
    ("objects.npz", npz_bytes(w=npy_bytes(np.array([{}, 1], dtype=object))), "without pickled objects"),
    ("bare.npy", b"\x80\x04}\x94.", "without pickled objects"),
    ("huge.npy", GOOD.replace(b"(8, 8)", b"(9**9,9**9)"[:6]), "whole .npy file"),
    ("nan.npy", npy_bytes(WITH_NAN), r"tensor 'nan'.*finite.*nan at index \[1, 2\]"),
    ("nan.npz", npz_bytes(fine=GOOD, layer=npy_bytes(WITH_NAN)), r"tensor 'layer'.*finite.*nan"),
    (
        "nan.safetensors",
        safetensors_bytes(
            {"q": {"dtype": "F32", "shape": [8, 8], "data_offsets": [0, 256]}}, WITH_NAN.tobytes()
        ),
        r"tensor 'q'.*finite.*nan",
    ),
    ("infinite.npy", npy_bytes(np.full((8, 8), -np.inf, np.float32)), "tensor 'infinite'.*finite.*inf"),
    (
        "weights.gguf",
        GOOD,
        r"must end in one of .npy, .npz, .safetensors, .pt, .pth, .bin; got suffix '.gguf'",
    ),
    ("weights", GOOD, "must end in one of"),
    ("complex.npy", npy_bytes(np.ones((8, 8), complex)), "'complex': dtype complex128"),
    ("text_array.npy", npy_bytes(np.array([["a", "b"]] * 2)), "dtype <U1"),
    ("dates.npy", npy_bytes(np.zeros((8, 8), "M8[s]")), "dtype datetime64"),
    ("integers.npy", npy_bytes(np.ones((8, 8), int)), "dtype int64 is not float8, float16"),
    ("brain.npy", npy_bytes(gaussian(8, 8, dtype=ml_dtypes.bfloat16)), "bfloat16"),
    ("vector.npy", npy_bytes(gaussian(8)), "1 axis"),
    ("scalar.npy", npy_bytes(np.float32(1)), "0 axes"),
    ("odd.npy", npy_bytes(gaussian(8, 9)), "has 9 entries along axis -1, which m=4 does not divide"),
    ("batch.npy", npy_bytes(gaussian(2, 8, 8)), r"3 axes \(see --axes\)"),
    ("nothing.npz", npz_bytes(), "none at all"),
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
    bad = (
        ("0,3", "no two axes 0,3"),
        ("2,-1", "no two axes 2,-1"),
        ("0,1", "has 2 entries along axis"),
    )
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


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("model", "model.safetensors"),
        ("modl.safetensors", "model.safetensors"),
        ("model.npz", "model.safetensors"),
        ("Weights.npy", "weights.npy"),
        ("prunned", "pruned"),
        ("nothing-like-it", ""),
        ("nothing-like-it.npy", ""),
    ],
)
def test_what_is_not_there_is_not_judged_by_its_name(tmp_path: Path, name: str, meant: str) -> None:
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "weights.npy").touch()
    (tmp_path / "pruned").mkdir()
    missing = tmp_path / name
    near = f"; did you mean '{tmp_path / meant}'?" if meant else ""
    message = f"file or folder '{missing}': No such file or directory{near}"
    for command in ("prune", "verify", "pack", "allocate"):
        output = () if command == "verify" else ("-o", tmp_path / "out.npy")
        assert fail(command, missing, *output, "--pattern", "2:4") == f"masksolve: {message}"
    other, kept = tmp_path / "out", tmp_path / "kept.safetensors"
    for call in (
        lambda: ms.checkpoints.plan(missing, "2:4"),
        lambda: ms.checkpoints.prune(missing, other, "2:4"),
        lambda: ms.checkpoints.allocate(missing, "2:4"),
        lambda: ms.checkpoints.dense_tiles(missing, "2:4", share=0.5),
        lambda: ms.checkpoints.pack(missing, kept),
        lambda: ms.checkpoints.verify(missing),
        lambda: ms.checkpoints.verify(missing, certificate=kept, original=other),
    ):
        with pytest.raises(ms.CheckpointError) as caught:
            call()
        assert str(caught.value) == message
    assert sorted(os.listdir(tmp_path)) == ["model.safetensors", "pruned", "weights.npy"]


def test_other_files_that_are_not_there(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", gaussian(8, 8))
    (tmp_path / "recipe.toml").touch()
    line = fail("verify", tmp_path / "w.npy", "--recipe", tmp_path / "recip.toml")
    assert line.endswith(f"No such file or directory; did you mean '{tmp_path / 'recipe.toml'}'?")
    line = fail(
        "verify", tmp_path / "w.npy", "--certificate", tmp_path / "proof", "--original", tmp_path / "w.npy"
    )
    assert line.endswith(f"certificate '{tmp_path / 'proof'}': No such file or directory")
    line = fail("verify", tmp_path / "no" / "w.npy", "--pattern", "2:4")
    assert line.endswith(f"No such file or directory; nor is there a folder '{tmp_path / 'no'}'")
    for impossible in (tmp_path / ("x" * 300), tmp_path / "w.npy" / "x.npy"):
        line = fail("verify", impossible, "--pattern", "2:4")
        assert re.search(r": (File name too long|Not a directory)$", line)


def test_places_of_other_outputs(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", gaussian(8, 8))
    arguments = ("prune", tmp_path / "w.npy", "-o", tmp_path / "o.npy", "--pattern", "2:4")
    for option in ("--report", "--html"):
        line = fail(*arguments, option, tmp_path / "no" / "file")
        assert line == f"masksolve: '{tmp_path / 'no' / 'file'}' must lie in a folder that exists"
    line = fail(*arguments, "--certificate", tmp_path / "no" / "p.safetensors")
    assert line.endswith("must lie in a folder that exists")
    inside = tmp_path / "out" / "p.safetensors"
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "w.npy", gaussian(8, 8))
    (tmp_path / "out").mkdir()
    line = fail("prune", tmp_path / "in", "-o", tmp_path / "out", "--pattern", "2:4", "--certificate", inside)
    assert line.endswith("which appears in one step; put it beside")
    line = fail("verify", tmp_path / "w.npy", "--pattern", "4:4", "--report", tmp_path / "no" / "file")
    assert line.endswith("cannot be written: No such file or directory")
    assert sorted(os.listdir(tmp_path)) == ["in", "out", "w.npy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("prnue",), "The commands are allocate, backends, demo, pack, prune, verify."),
        (("prune", "--patern", "2:4"), "Did you mean"),
        (("pack", "--encoding", "bitmask"), "'bitmap'"),
    ],
)
def test_misspelt_commands_and_options(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_tensor_in_two_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_file({"w": np.tile(np.float32([1, 1, 0, 0]), (4, 2))}, tmp_path / f"{name}.safetensors")
    line = fail("pack", tmp_path, "-o", tmp_path / "p.safetensors", "--pattern", "2:4")
    assert line == f"masksolve: tensor 'w' is in several files of '{tmp_path}'"
    line = fail("allocate", tmp_path, "-o", tmp_path / "recipe.toml", "--pattern", "2:4")
    assert line == f"masksolve: tensor 'w' must be in one file of '{tmp_path}' only"


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

    monkeypatch.setattr(work, "solve", interrupt)
    result = run("prune", tmp_path / "w.npy", "-o", tmp_path / "w.npy", "--pattern", "2:4", "--force")
    assert result.exit_code == 1
    assert os.listdir(tmp_path) == ["w.npy"]
    assert (tmp_path / "w.npy").read_bytes() == GOOD
