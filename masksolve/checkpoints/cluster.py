"""Workers on other machines, through Dask."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from ..errors import CheckpointError

_PATIENCE = 30
"""Seconds to wait for a scheduler, which may be on a machine with much else to do."""


@contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """Connect to a running Dask scheduler and yield an executor whose tasks its workers do.

    A worker that dies is replaced by another one; pieces of work may be done twice without harm.

    Parameters
    ----------
    address : str
        Such as ``"tcp://10.0.0.5:8786"``, or the path of a scheduler file.

    Raises
    ------
    CheckpointError
        If Dask is not installed or the scheduler does not answer.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise CheckpointError('Dask is not installed: pip install "masksolve[dask]"') from None
    try:
        where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
        client = Client(**where, timeout=_PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call,unused-ignore]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"no Dask scheduler answers at '{address}': {error}") from error
    with client:
        yield client.get_executor(retries=2, pure=False)  # type: ignore[no-untyped-call,unused-ignore]
