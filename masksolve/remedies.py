"""The command that installs a missing package, in words that work where they are read."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from pathlib import Path


def pip_install(extra: str, package: str = "") -> str:
    """Write the command that installs an extra of masksolve, or a package, beside the running interpreter.

    masksolve is there already, from a clone or not, so that pip only adds what the extra names. Sources that
    were never installed are named by their folder.

    Parameters
    ----------
    extra : str
        An extra of masksolve; if empty, ``package`` is installed.
    package : str
        A package by the name that pip knows.

    Examples
    --------
    >>> pip_install("plot").endswith('[plot]"')
    True
    """
    return f"{_pip()} install " + (f'{_masksolve()}[{extra}]"' if extra else package)


def _pip() -> str:
    """Name the pip of this interpreter: a virtual environment may be used without being activated."""
    found = shutil.which("pip")
    if not sys.executable or (found and Path(found).parent == Path(sys.executable).parent):
        return "pip"
    return f'"{sys.executable}" -m pip' if " " in sys.executable else f"{sys.executable} -m pip"


def _masksolve() -> str:
    """Begin the quoted name of what to install: the package, or the folder of bare sources."""
    folder = Path(__file__).resolve().parents[1]
    try:
        metadata.version("masksolve")
    except metadata.PackageNotFoundError:
        if (folder / "pyproject.toml").is_file():
            return f'-e "{folder}'
    return '"masksolve'
