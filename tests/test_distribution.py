"""The source distribution and the wheel: complete, lean, and installable anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.distribution

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "*.so", "__pycache__", "*.py[cod]")
USE = """
import json, numpy, masksolve
result = masksolve.solve(numpy.eye(8) + 1.0, "2:4-T")
print(json.dumps([masksolve.__file__, result.objective, result.gap, result.status.name]))
"""


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Standard output of a command that does not see the checkout, or a failure that shows all it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the sdist, and the wheel built from it (once a session, no network).

    ``MASKSOLVE_DIST`` names a folder where they are already.
    """
    if "MASKSOLVE_DIST" in os.environ:
        return Path(os.environ["MASKSOLVE_DIST"])
    source = tmp_path_factory.mktemp("source") / "masksolve"
    shutil.copytree(ROOT, source, ignore=LEFT_OUT)
    output = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", output, source, cwd=output)
    return output


@pytest.fixture(scope="module")
def sdist_files(dist: Path) -> set[str]:
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as members:
        return {name.partition("/")[2] for name in members.getnames()}


@pytest.fixture(scope="module")
def wheel_files(dist: Path) -> set[str]:
    (archive,) = dist.glob("*.whl")
    with zipfile.ZipFile(archive) as members:
        return set(members.namelist())


def relative(folder: str, *patterns: str) -> set[str]:
    """Files of the checkout under a folder, as an archive names them."""
    return {
        path.relative_to(ROOT).as_posix()
        for pattern in patterns
        for path in (ROOT / folder).rglob(pattern)
        if "__pycache__" not in path.parts
    }


def generated() -> set[str]:
    """C++ that Cython writes, beside the .pyx it comes from."""
    return {f"src_cython/{path.stem}.cpp" for path in (ROOT / "src_cython").glob("*.pyx")}


def test_sdist_has_everything_to_build_and_test(sdist_files: set[str]) -> None:
    needed = {"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml", "setup.py"}
    needed |= relative("src_cython", "*.pyx", "*.pxd", "*.hpp", "*.cpp") - generated()
    needed |= relative("tests", "*.py") | relative("benchmarks", "*.py")
    needed |= relative("masksolve", "*.py", "*.pyi", "py.typed")
    assert needed - sdist_files == set()


def test_sdist_has_nothing_generated(sdist_files: set[str]) -> None:
    assert generated() & sdist_files == set()
    assert [name for name in sdist_files if name.endswith((".so", ".pyc", ".o"))] == []


def test_wheel_has_the_whole_package(wheel_files: set[str]) -> None:
    needed = relative("masksolve", "*.py", "*.pyi", "py.typed") | relative("masksolve/data", "*.*")
    assert needed - wheel_files == set()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel_files)


def test_wheel_has_every_compiled_module_with_its_types(wheel_files: set[str]) -> None:
    compiled = {name.split("/")[-1].split(".")[0] for name in wheel_files if name.endswith((".so", ".pyd"))}
    sources = {path.stem for path in (ROOT / "src_cython").glob("*.pyx")}
    assert compiled == sources
    assert {f"masksolve/_ext/{name}.pyi" for name in sources} <= wheel_files


@pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="no stable interface without the lock"
)
def test_wheel_serves_every_python_from_3_11_on(dist: Path, wheel_files: set[str]) -> None:
    (archive,) = dist.glob("*.whl")
    assert archive.name.split("-")[2:4] == ["cp311", "abi3"]
    if sys.platform != "win32":  # where such a module ends in .pyd alone
        ends = {name.partition(".")[2] for name in wheel_files if "/_ext/" in name and name.endswith(".so")}
        assert ends == {"abi3.so"}


def test_wheel_has_nothing_else(wheel_files: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_files if ".dist-info/" not in name}
    assert tops == {"masksolve"}
    assert [name for name in wheel_files if name.endswith((".cpp", ".hpp", ".pyx", ".pxd", ".pyc"))] == []


@pytest.fixture(scope="module")
def python(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a new environment with the wheel, which borrows the other installed packages of this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    (wheel,) = dist.glob("*.whl")
    run(python, "-m", "pip", "install", "--no-index", "--no-deps", wheel, cwd=folder)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('platlib'))", cwd=folder).strip()
    numpy_home = run(sys.executable, "-c", "import numpy; print(numpy.__path__[0])", cwd=folder).strip()
    (Path(site) / "borrowed.pth").write_text(str(Path(numpy_home).parent))
    return python


def test_wheel_works_outside_the_checkout(python: Path, tmp_path: Path) -> None:
    file, objective, gap, status = json.loads(run(python, "-c", USE, cwd=tmp_path))
    assert Path(file).is_relative_to(python.parents[1])
    assert (objective, status) == (40.0, "OPTIMAL")
    assert gap <= 1e-12


def test_examples_of_the_pages_run_from_the_wheel(python: Path, tmp_path: Path) -> None:
    """Those that need masksolve and NumPy alone; the other pages' are run from the tree."""
    pages = [ROOT / "README.md"]
    pages += [ROOT / "docs" / f"{name}.md" for name in ("quickstart", "patterns", "packing", "budgets")]
    for page in pages:
        shutil.copy(page, tmp_path)
    run(python, "-m", "doctest", "-o", "ELLIPSIS", *(page.name for page in pages), cwd=tmp_path)


@pytest.mark.parametrize("script", sorted(ROOT.glob("docs/tutorials/*.py")), ids=lambda script: script.stem)
def test_tutorials_run_from_the_wheel(python: Path, script: Path, tmp_path: Path) -> None:
    shutil.copy(script, tmp_path)
    run(python, "-W", "error::UserWarning", script.name, cwd=tmp_path, MPLBACKEND="agg")
