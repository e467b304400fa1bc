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


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command, or a failure that shows all it printed."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False
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


def test_wheel_works_outside_the_checkout(dist: Path, tmp_path: Path) -> None:
    """In a new environment that borrows only the installed packages (NumPy) of this one."""
    venv.create(tmp_path / "env", with_pip=True)
    scripts = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / "python"
    (wheel,) = dist.glob("*.whl")
    run(python, "-m", "pip", "install", "--no-index", "--no-deps", wheel, cwd=tmp_path)
    site = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('platlib'))", cwd=tmp_path).strip()
    )
    numpy_home = run(sys.executable, "-c", "import numpy; print(numpy.__path__[0])", cwd=tmp_path).strip()
    (site / "borrowed.pth").write_text(str(Path(numpy_home).parent))

    file, objective, gap, status = json.loads(run(python, "-c", USE, cwd=tmp_path))
    assert Path(file).is_relative_to(site)
    assert (objective, status) == (40.0, "OPTIMAL")
    assert gap <= 1e-12
