"""array-api-compat, the one library through which arrays of any framework are computed with."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from ..errors import BackendUnavailableError
from ..remedies import pip_install


def array_api_compat() -> ModuleType:
    """Import array-api-compat, which gives every framework the functions of the standard.

    Raises
    ------
    BackendUnavailableError
        If it is not installed; names the command that installs it.
    """
    try:
        return importlib.import_module("array_api_compat")
    except ImportError as error:
        raise BackendUnavailableError(
            "arrays on a device, and backend 'batched', need array-api-compat: "
            f"{pip_install('arrays')}; or move the array to the host"
        ) from error


def device_of(array: Any) -> Any:
    """Find the device of an array of a framework."""
    return array_api_compat().device(array)
