"""Files replaced when the new one is complete: an old one survives a writer that fails."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import masksolve as ms
from masksolve.checkpoints.page import write_page
from masksolve.checkpoints.report import Report
from masksolve.cli.app import cli
from masksolve.whole_files import written_whole

posix = pytest.mark.skipif(os.name != "posix", reason="pipes with names, permissions and links of POSIX")


def test_old_file_survives_a_writer_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail_half_way() -> None:
        with written_whole(path) as stream:
            stream.write(b"half of the new")
            stream.flush()
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_new_file_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a longer old text")
    with written_whole(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"a longer old text"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


@posix
def test_links_and_permissions_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    with written_whole(link) as stream:
        stream.write(b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640


def test_errors_name_the_file_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "file"
    with pytest.raises(FileNotFoundError) as caught, written_whole(path):
        pass
    assert caught.value.filename == str(path)
    with pytest.raises(OSError, match=r"tmp|Is a directory|denied"), written_whole(tmp_path):
        pass


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_files_are_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o440)
    with pytest.raises(PermissionError), written_whole(path) as stream:
        stream.write(b"new")
    assert path.read_bytes() == b"old"


@posix
@pytest.mark.parametrize("into_file", [False, True], ids=["pipe", "file"])
def test_standard_output_is_written_to_as_it_is(tmp_path: Path, into_file: bool) -> None:
    """Also where the shell sends it to a file: what is printed before and after stays there."""
    program = (
        "from masksolve.whole_files import written_whole\n"
        "print('before', flush=True)\n"
        "with written_whole('/dev/stdout') as stream: stream.write(b'whole\\n')\n"
        "print('after')\n"
    )
    command = [sys.executable, "-c", program]
    if into_file:
        with (tmp_path / "out").open("wb") as stream:
            subprocess.run(command, stdout=stream, check=True)
        shown = (tmp_path / "out").read_bytes()
    else:
        shown = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    assert shown == b"before\nwhole\nafter\n"


def test_a_result_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = ms.solve(np.random.default_rng(0).random((8, 8)), "4:8-T")
    path = tmp_path / "mask.npz"
    result.save(path)

    def half(stream: Any, **arrays: Any) -> None:
        stream.write(b"PK half an archive")
        stream.flush()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="No space left"):
        result.save(path)
    assert np.array_equal(ms.MaskResult.load(path).mask, result.mask)
    assert os.listdir(tmp_path) == ["mask.npz"]


def test_a_result_goes_into_an_open_file() -> None:
    result = ms.solve(np.random.default_rng(0).random((8, 8)), "4:8-T")
    stream = io.BytesIO()
    result.save(stream)
    stream.seek(0)
    assert np.array_equal(ms.MaskResult.load(stream).mask, result.mask)


@pytest.mark.parametrize("write", [Report.write, write_page], ids=["json", "page"])
def test_reports_of_a_run_survive_a_writer_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any
) -> None:
    np.save(tmp_path / "w.npy", np.random.default_rng(0).random((8, 8)))
    done = ms.checkpoints.prune(tmp_path / "w.npy", tmp_path / "out.npy", "2:4")
    path = tmp_path / "report"
    path.write_bytes(b"old")

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        write(done, path)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    write(done, path)
    assert len(path.read_bytes()) > 100


def test_the_report_of_verify_survives_a_writer_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "w.npy", np.tile([1.0, 0.0], (4, 4)))
    path = tmp_path / "report.json"
    path.write_text("old")
    command = ["verify", str(tmp_path / "w.npy"), "--pattern", "2:4", "--report", str(path)]

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        failed = CliRunner().invoke(cli, command)
    assert failed.exit_code != 0
    assert "cannot be written: Input/output error" in failed.output
    assert path.read_text() == "old"
    assert CliRunner().invoke(cli, command).exit_code == 0
    assert json.loads(path.read_text())["ok"] is True
