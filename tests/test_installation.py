"""``show_config``: what it says is so, and it imports nothing to find out."""

import platform
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest

import masksolve as ms
from masksolve import installation
from masksolve._ext.tiles import instruction_sets
from masksolve.backends.exact import VARIABLE

RUNNING = [name for name, runs in instruction_sets().items() if runs]


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def config():
    found = ms.show_config("dicts")
    assert found is not None
    return found


def test_dicts():
    found = config()
    assert found["version"] == ms.__version__
    assert found["python"] == platform.python_version()
    assert found["processors"] == ms.solve(np.ones((4, 4)), "2:4", workers=-1).stats["workers"]
    assert found["instruction_sets"] == instruction_sets()
    assert found["instruction_set"] == RUNNING[0]
    assert found["environment"] == {VARIABLE: None}
    assert found["packages"]["numpy"] == np.__version__
    assert found["packages"]["scipy"] == metadata.version("scipy")


def test_baseline_is_compiled_and_runs_everywhere():
    assert config()["instruction_sets"]["baseline"]


@pytest.mark.parametrize("name", RUNNING)
def test_the_environment_chooses(monkeypatch, name):
    monkeypatch.setenv(VARIABLE, name)
    assert config()["instruction_set"] == name
    assert config()["environment"] == {VARIABLE: name}


def test_it_prints(capsys):
    assert ms.show_config() is None
    printed = capsys.readouterr().out
    assert f"masksolve {ms.__version__}" in printed
    assert f"{RUNNING[0]:<12} runs here, chosen" in printed
    assert printed.count("chosen") == 1
    assert f"{VARIABLE} is not set" in printed
    assert f"{'numpy':<12} {np.__version__}" in printed


def test_an_environment_that_cannot_be_obeyed_is_shown(monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, "mmx")
    assert config()["instruction_set"] is None
    ms.show_config()
    assert f"{VARIABLE} is 'mmx', which does not run here" in capsys.readouterr().out


def test_missing_packages_are_shown(monkeypatch, capsys):
    monkeypatch.setattr(installation, "_PACKAGES", ("numpy", "no-such-package"))
    assert config()["packages"] == {"numpy": np.__version__, "no-such-package": None}
    ms.show_config()
    assert "no-such-package not installed" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["dict", "", None])
def test_other_modes_are_refused(mode):
    with pytest.raises((TypeError, ValueError), match=r"mode must be one of 'stdout', 'dicts'; got"):
        ms.show_config(mode)


def test_nothing_is_imported_to_find_out():
    code = (
        "import sys, masksolve; masksolve.show_config();"
        "sys.exit(not {'scipy', 'torch', 'ortools', 'networkx'}.isdisjoint(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
