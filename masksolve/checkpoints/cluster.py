"""Workers on other machines, through Dask."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..remedies import pip_install

_PATIENCE = 10.0
"""Seconds to wait for the answer of a scheduler, which may be on a machine with much else to do."""

_STARTING = 30.0
"""Seconds to wait for the file of a scheduler, which may have been started by the line before."""


@contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """Connect to a running Dask scheduler and yield an executor whose tasks its workers do.

    A worker that dies is replaced by another one; pieces of work may be done twice without harm.

    Parameters
    ----------
    address : str
        Such as ``"tcp://10.0.0.5:8786"``, or the path of a scheduler file, which may be about to appear.

    Raises
    ------
    CheckpointError
        If Dask is not installed or the scheduler does not answer.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise CheckpointError(f"Dask is not installed: {pip_install('dask')}") from None
    found = _address_in(Path(address)) if address.endswith(".json") else address
    try:
        # Its own thread has no event loop yet, wherever this is called.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _greet(found)).result()
        client = Client(found, timeout=_PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call,unused-ignore]
    except Exception as error:  # what listens there may be anything, and Dask chokes on it in many ways
        where = f"'{found}'" if found == address else f"'{found}', as '{address}' says"
        reason = f"it does not speak for {_PATIENCE:g} s" if isinstance(error, TimeoutError) else error
        raise CheckpointError(
            f"no Dask scheduler answers at {where}: {reason}; start one with 'dask scheduler', and workers "
            f"with 'dask worker {found}'"
        ) from error
    with client:
        yield client.get_executor(retries=2, pure=False)  # type: ignore[no-untyped-call,unused-ignore]


async def _greet(address: str) -> None:
    """Shake hands with a scheduler: a Client that cannot waits for minutes, also when it is closed."""
    from distributed.comm.core import connect
    from distributed.security import Security

    security: Any = Security()  # type: ignore[no-untyped-call,unused-ignore]
    arguments = security.get_connection_args("client")
    comm: Any = await asyncio.wait_for(connect(address, timeout=_PATIENCE, **arguments), _PATIENCE + 1)  # type: ignore[no-untyped-call,unused-ignore]
    await comm.close()


def _address_in(file: Path) -> str:
    """Read where the scheduler is off the file that it writes: first empty, and a moment later whole."""
    deadline = time.monotonic() + _STARTING
    while True:
        try:
            return str(json.loads(file.read_bytes())["address"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = getattr(error, "strerror", None) or f"it must be JSON with an 'address' ({error!r})"
            if time.monotonic() > deadline:
                raise CheckpointError(
                    f"Dask's scheduler file '{file}': {reason} after {_STARTING:g} s; "
                    f"start a scheduler that writes it with 'dask scheduler --scheduler-file {file}'"
                ) from error
        time.sleep(0.1)
