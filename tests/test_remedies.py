"""The command that an error names installs what is missing where the error was read."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import masksolve as ms
from masksolve import remedies
from masksolve.remedies import pip_install


def absent(name: str) -> str:
    raise metadata.PackageNotFoundError(name)


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the interpreter be one that has its pip beside it, which the shell finds."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(shutil, "which", lambda name: str(tmp_path / name))
    monkeypatch.setattr(metadata, "version", lambda name: "1")
    return tmp_path


def test_pip_of_this_interpreter(beside: Path) -> None:
    assert pip_install("plot") == 'pip install "masksolve[plot]"'
    assert pip_install("", "scipy") == "pip install scipy"


@pytest.mark.parametrize("found", [None, "/usr/bin/pip"])
def test_an_environment_that_is_not_activated(
    beside: Path, monkeypatch: pytest.MonkeyPatch, found: str | None
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: found)
    assert pip_install("plot") == f'{beside / "python"} -m pip install "masksolve[plot]"'
    monkeypatch.setattr(sys, "executable", "/a folder/python")
    assert pip_install("", "scipy") == '"/a folder/python" -m pip install scipy'


def test_an_interpreter_inside_another_program(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    assert pip_install("plot") == 'pip install "masksolve[plot]"'


def test_sources_that_were_never_installed(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", absent)
    monkeypatch.setattr(remedies, "__file__", str(beside / "masksolve" / "remedies.py"))
    assert pip_install("plot") == 'pip install "masksolve[plot]"'
    (beside / "pyproject.toml").touch()
    assert pip_install("plot") == f'pip install -e "{beside.resolve()}[plot]"'


def test_pip_reads_the_command(tmp_path: Path) -> None:
    """The pip that is named runs, and is that of the interpreter that raised the error."""
    command = pip_install("", "--help")
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, cwd=tmp_path)
    if "No module named pip" in done.stderr:
        pytest.skip("this environment has no pip")
    assert done.returncode == 0, done.stderr
    assert "install" in done.stdout


def test_errors_speak_through_it(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    error = ms.BackendUnavailableError.needing("this", "that", "plot")
    assert str(error) == f'this needs that: {beside / "python"} -m pip install "masksolve[plot]"'
