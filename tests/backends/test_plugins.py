"""Backends of other packages: found, described, run, and, if something is wrong, harmless."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from places import ROOT

import masksolve as ms
from masksolve.backends import BackendInfo
from masksolve.remedies import pip_install

registry = importlib.import_module("masksolve.backends")  # ms.backends is the function
EXAMPLE = ROOT / "examples" / "masksolve_rowswap"
BUILT_IN = [info.name for info in ms.backends()]
Install = Callable[..., None]

BACKEND = """
from masksolve.backends.enumeration import Enumerate

class Plugged(Enumerate):
    name = {name!r}
    guarantee = "as enumerate"
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """``install(package, module_source, entry_points)`` leaves what an installer would leave."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(package: str, source: str, *entries: str, folder: Path = tmp_path) -> None:
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("\n".join(["[masksolve.backends]", *entries, ""]))
        (folder / f"{package}.py").write_text(textwrap.dedent(source))
        registry._scan.cache_clear()
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, package, raising=False)

    yield add
    registry._scan.cache_clear()


def described(name: str) -> BackendInfo:
    (info,) = [info for info in ms.backends() if info.name == name]
    return info


def assert_unharmed() -> None:
    """Everything that masksolve brings works as if there were no plug-ins."""
    infos = {info.name: info for info in ms.backends()}
    assert all(infos[name].exact is not None for name in BUILT_IN)
    assert ms.solve(np.eye(4), "1:4-T").backend == "exact"
    assert ms.solve(np.eye(4), "1:4-T", backend="greedy").objective == 4.0


# The example package


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a process in which the example is installed, by pip, into a folder of its own."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
    offline = ("--no-index", "--no-deps", "--no-build-isolation")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            *quiet,
            *offline,
            "--target",
            folder / "site",
            folder / "source",
        ],
        check=True,
    )
    return {**os.environ, "PYTHONPATH": str(folder / "site"), "EXAMPLE": str(folder / "source")}


def run(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=environment["EXAMPLE"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_is_listed_and_runs(example: dict[str, str]) -> None:
    code = """
import json, sys, numpy, masksolve as ms
from masksolve.backends import names
assert "rowswap" in names() and "masksolve_rowswap" not in sys.modules
info = next(info for info in ms.backends() if info.name == "rowswap")
result = ms.solve(numpy.random.default_rng(0).random((32, 64)), "4:8-T", backend="rowswap", rounds=9)
try:
    ms.solve(numpy.eye(4), "1:4", backend="rowswap")
except ms.BackendRefusedError as error:
    refusal = str(error)
print(json.dumps([info._asdict(), result.backend, ms.verify(result.mask, "4:8-T").ok, result.gap, refusal]))
"""
    info, backend, ok, gap, refusal = json.loads(run(example, "-P", "-c", code))
    assert info == {
        "name": "rowswap",
        "exact": False,
        "runs": "transposable patterns on whole tiles; no keep= or drop=",
        "guarantee": "at least n/m of the sum of the scores",
        "options": {"rounds": 64},
        "unavailable": None,
    }
    assert (backend, ok) == ("rowswap", True)
    assert 0 < gap < 0.2
    assert refusal == ("backend 'rowswap' works on whole transposable tiles, got '1:4'; use backend='exact'")


def test_the_example_passes_its_own_test(example: dict[str, str]) -> None:
    output = run(
        example, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "tests"
    )
    assert "6 passed" in output


def test_the_command_line_lists_the_example(example: dict[str, str]) -> None:
    pytest.importorskip("rich")
    lines = run({**example, "COLUMNS": "160"}, "-P", "-m", "masksolve.cli", "backends").splitlines()
    first = next(number for number, line in enumerate(lines) if "rowswap" in line)
    for words in ("heuristic", "at least n/m", "rounds=64", "yes"):
        assert words in lines[first]
    assert "runs transposable patterns on whole tiles" in lines[first + 1]


# Plug-ins that are well


def test_names_are_listed_without_importing(install: Install) -> None:
    install("plug_lazy", "raise AssertionError('imported')", "lazy = plug_lazy:Plugged")
    assert registry.names() == [*BUILT_IN, "lazy"]
    with pytest.raises(
        ValueError, match=r"backend must be one of \['auto', 'exact', .*'lazy'\], got 'nothing'"
    ):
        ms.solve(np.eye(4), "1:4-T", backend="nothing")


def test_a_plug_in_runs_and_is_described(install: Install) -> None:
    install("plug_well", BACKEND.format(name="well"), "well = plug_well:Plugged")
    result = ms.solve(np.eye(4), "1:4-T", backend="well")
    assert (result.backend, result.status) == ("well", ms.Status.OPTIMAL)
    assert described("well") == BackendInfo(
        "well", True, "m <= 4, exact or at_most, keep= and drop=", "as enumerate", {}, None
    )


def test_auto_never_runs_a_plug_in(install: Install) -> None:
    install("plug_first", BACKEND.format(name="aaa"), "aaa = plug_first:Plugged")
    assert ms.solve(np.eye(4), "1:4-T").backend == "exact"
    assert "plug_first" not in sys.modules


def test_options_of_a_plug_in(install: Install) -> None:
    source = (
        BACKEND.format(name="optional")
        + """
from dataclasses import dataclass, field

@dataclass(frozen=True)
class Optional(Plugged):
    steps: int = 3
    tags: list = field(default_factory=lambda: ["a"])
    cache: dict = field(init=False, default_factory=dict)
"""
    )
    install("plug_options", source, "optional = plug_options:Optional")
    assert described("optional").options == {"steps": 3, "tags": ["a"]}
    ms.solve(np.eye(4), "1:4-T", backend="optional", steps=4)
    with pytest.raises(TypeError, match=r"no option 'cache'; its options are \['steps', 'tags'\]"):
        ms.solve(np.eye(4), "1:4-T", backend="optional", cache={})


def test_a_missing_requirement_is_named(install: Install) -> None:
    source = BACKEND.format(name="needy") + "    requires = 'no_such_module.part'\n"
    install("plug_needy", source, "needy = plug_needy:Plugged")
    message = f"needs no_such_module.part: {pip_install('', 'no_such_module')}"
    assert described("needy").unavailable == message
    with pytest.raises(ms.BackendUnavailableError, match=message):
        ms.solve(np.eye(4), "1:4-T", backend="needy")


def test_the_first_copy_of_a_package_counts(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = tmp_path / "older"
    monkeypatch.setattr(sys, "path", [*sys.path, str(older)])
    install("plug_copy", BACKEND.format(name="copy"), "copy = plug_copy:Plugged")
    install("plug_copy", "", "copy = plug_elsewhere:Plugged", folder=older)
    assert described("copy").unavailable is None


# Plug-ins that are broken


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("import no_such_module", "M:Plugged", "ModuleNotFoundError.*no_such_module"),
        ("1 / 0", "M:Plugged", "ZeroDivisionError.*division by zero"),
        ("raise SystemExit('bye')", "M:Plugged", "SystemExit.*bye"),
        ("def f(:", "M:Plugged", "SyntaxError"),
        ("", "M:Plugged", "AttributeError.*Plugged"),
        ("", "no_such_file:Plugged", "ModuleNotFoundError.*no_such_file"),
        ("", "not a module!", "AttributeError|ValueError"),
        ("Plugged = 3", "M:Plugged", "not a subclass of masksolve.backends.base.Backend"),
        ("class Plugged: name = 'broken'", "M:Plugged", "not a subclass of masksolve.backends.base.Backend"),
        (BACKEND.format(name="other"), "M:Plugged", "its name is 'other'"),
        (BACKEND.format(name="broken") + "    exact = None", "M:Plugged", "attribute exact must be a bool"),
        (BACKEND.format(name="broken") + "    runs = 3", "M:Plugged", "its attribute runs must be a str"),
        (
            "from masksolve.backends.base import ChunkBackend\nclass Plugged(ChunkBackend): name = 'broken'",
            "M:Plugged",
            "does not define solve_chunk",
        ),
        (
            "from masksolve.backends.base import Backend\nclass Plugged(Backend):\n"
            "    name = 'broken'\n    def solve(self, *tiles): pass",
            "M:Plugged",
            "its attribute exact must be a bool",
        ),
        (
            "from dataclasses import dataclass\n" + BACKEND.format(name="broken")
            + "@dataclass(frozen=True)\nclass Bare(Plugged):\n    tau: float",
            "M:Bare",
            "its option tau has no default",
        ),
    ],
)  # fmt: skip
def test_a_broken_plug_in_is_reported_and_harms_nobody(
    install: Install, source: str, target: str, reason: str
) -> None:
    install("plug_broken", source, f"broken = {target.replace('M', 'plug_broken', 1)}")
    assert_unharmed()
    info = described("broken")
    assert info[1:-1] == (None, "", "", {})
    with pytest.raises(
        ms.BackendUnavailableError, match=f"(?s)'broken' of package 'plug_broken'.*{reason}"
    ) as caught:
        ms.solve(np.eye(4), "1:4-T", backend="broken")
    assert str(caught.value) == info.unavailable


def test_availability_that_cannot_be_told(install: Install) -> None:
    source = (
        BACKEND.format(name="unsure")
        + """
    @classmethod
    def unavailable(cls):
        raise OSError("no driver")
"""
    )
    install("plug_unsure", source, "unsure = plug_unsure:Plugged")
    assert_unharmed()
    assert described("unsure").unavailable == "cannot tell whether it can run: OSError('no driver')"
    with pytest.raises(ms.BackendUnavailableError, match="cannot tell whether it can run: OSError"):
        ms.solve(np.eye(4), "1:4-T", backend="unsure")


def test_unreadable_metadata_harms_nobody(install: Install) -> None:
    install("plug_garbled", "", "a line that is no entry point")
    install("plug_beside", BACKEND.format(name="beside"), "beside = plug_beside:Plugged")
    assert_unharmed()
    assert described("beside").unavailable is None


# Clashes


def test_two_plug_ins_of_one_name_are_refused(install: Install) -> None:
    for package in ("plug_one", "plug_two"):
        install(package, BACKEND.format(name="same"), f"same = {package}:Plugged")
    assert registry.names() == [*BUILT_IN, "same"]
    assert_unharmed()
    claimants = {"package 'plug_one' (plug_one:Plugged)", "package 'plug_two' (plug_two:Plugged)"}
    with pytest.raises(ValueError, match=r"backend 'same' is claimed by .*; uninstall one") as caught:
        ms.solve(np.eye(4), "1:4-T", backend="same")
    assert all(claimant in str(caught.value) for claimant in claimants)
    assert described("same").unavailable == str(caught.value)


def test_the_name_of_a_built_in_backend_is_refused(install: Install) -> None:
    """Nobody decides silently which of the two runs; ``auto`` means ours."""
    install("plug_exact", BACKEND.format(name="exact"), "exact = plug_exact:Plugged")
    message = (
        r"backend 'exact' is claimed by masksolve itself and by package 'plug_exact' \(plug_exact:Plugged\)"
    )
    with pytest.raises(ValueError, match=message) as caught:
        ms.solve(np.eye(4), "1:4-T", backend="exact")
    assert described("exact").unavailable == str(caught.value)
    result = ms.solve(np.eye(4), "1:4-T")
    assert (result.backend, result.objective) == ("exact", 4.0)
    assert "plug_exact" not in sys.modules


def test_the_name_auto_is_refused(install: Install) -> None:
    install("plug_auto", BACKEND.format(name="auto"), "auto = plug_auto:Plugged")
    assert_unharmed()
    assert "claimed by masksolve itself and by package 'plug_auto'" in described("auto").unavailable


# The registry of masksolve's own


def test_the_function_and_the_subpackage_share_a_name() -> None:
    """``ms.backends`` is the function; the subpackage is imported from, as the documentation says."""
    from masksolve.backends import highs
    from masksolve.backends.highs import Highs

    assert callable(ms.backends)
    assert highs.Highs is Highs is importlib.import_module("masksolve.backends.highs").Highs


def test_every_backend_says_what_it_is() -> None:
    for info in ms.backends():
        assert isinstance(info.exact, bool)
        assert info.guarantee
        assert info.runs
        assert info.options == {
            name: info.options[name] for name in registry.defaults(registry.load(info.name))
        }


@pytest.mark.parametrize("pattern", ["2:4-T", "4:8-T at_most pad", "2:4 axis=0", "32:64-T"])
def test_auto_says_why(pattern: str) -> None:
    result = ms.solve(np.eye(64), pattern)
    assert result.stats["chosen_because"].startswith("exact runs every pattern, ")
    assert result.backend == "exact"
    named = ms.solve(np.eye(64), pattern, backend="exact")
    assert named.stats["chosen_because"] == "asked for by name"
