"""The command line: ``masksolve demo``, ``prune``, ``verify``, ``pack`` and ``backends``.

::

    app.py ─► prune.py, verify.py, pack.py    arguments in, tables out; the work is masksolve.checkpoints'
           │    └─► progress.py, tables.py, options.py
           └► demo.py ─► picture.py  the demonstration, and one tile drawn in the terminal
"""

from __future__ import annotations

import sys

from ..remedies import pip_install

__all__ = ["main"]


def main() -> None:
    """Run the command line; the entry point of the ``masksolve`` script."""
    try:
        from .app import cli
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("click", "rich"):
            raise
        print(f"masksolve: the command line needs {package}: {pip_install('cli')}", file=sys.stderr)
        raise SystemExit(2) from None
    cli(prog_name="masksolve")
