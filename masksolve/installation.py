"""What this installation is made of: for bug reports, and to see which instruction set runs."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any, Literal

from ._version import __version__
from .checks import choice
from .execution import processors

_PACKAGES = (
    *("numpy", "scipy", "ortools", "networkx", "ml_dtypes", "safetensors", "click", "rich", "torch"),
    *("jax", "cupy"),
)


def show_config(mode: Literal["stdout", "dicts"] = "stdout") -> dict[str, Any] | None:
    """Show the version, the instruction sets of the exact engine, and the packages beside it.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print it, or return it.

    Returns
    -------
    dict or None
        None if it was printed. Otherwise ``version``, ``python``, ``machine``; ``processors``, the
        number that ``workers=-1`` uses; ``instruction_sets``, the compiled ones, best first, and
        whether each runs here; ``instruction_set``, the one that ``backend="exact"`` takes unless
        told otherwise, None if the environment asks for one that does not run here;
        ``environment``, the variable that may choose it and its value or None; ``packages``, the
        versions of those that masksolve can use, None for those that are not installed. Nothing is
        imported to find out.

    Raises
    ------
    TypeError, ValueError
        If ``mode`` is neither of the two.

    Examples
    --------
    >>> show_config("dicts")["instruction_sets"]["baseline"]
    True
    """
    choice("mode", mode, ("stdout", "dicts"))
    config = _config()
    if mode == "dicts":
        return config
    print(_text(config))
    return None


def _config() -> dict[str, Any]:
    from ._ext.tiles import instruction_sets
    from .backends.exact import VARIABLE, Exact

    try:
        chosen = Exact().instruction_set
    except ValueError:
        chosen = None
    return {
        "version": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "processors": processors(),
        "instruction_sets": instruction_sets(),
        "instruction_set": chosen,
        "environment": {VARIABLE: os.environ.get(VARIABLE)},
        "packages": {name: _version_of(name) for name in _PACKAGES},
    }


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _text(config: dict[str, Any]) -> str:
    lines = [
        f"masksolve {config['version']}, Python {config['python']}, {config['machine']}",
        f"processors: {config['processors']}",
        "instruction sets, best first:",
    ]
    for name, runs in config["instruction_sets"].items():
        chosen = ", chosen" if name == config["instruction_set"] else ""
        lines.append(f"  {name:<12} {'runs here' if runs else 'does not run here'}{chosen}")
    for variable, value in config["environment"].items():
        unfit = "" if config["instruction_set"] else ", which does not run here: solve() will refuse"
        lines.append(f"  {variable} is {'not set' if value is None else repr(value) + unfit}")
    lines.append("packages:")
    for name, version in config["packages"].items():
        lines.append(f"  {name:<12} {version or 'not installed'}")
    return "\n".join(lines)
