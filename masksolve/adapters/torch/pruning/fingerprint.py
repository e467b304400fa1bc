"""Fingerprints of everything that pruned weights depend on, functions of the caller's included."""

from __future__ import annotations

import functools
import hashlib
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

from .state import raw_bytes

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, range, type(...))


def function_digest(name: str, function: Any) -> str:
    """Fingerprint of a function: its code, its defaults, and the values that it refers to.

    Two lambdas differ by what they do, not by their name. What a function refers to in its module
    counts too: numbers, strings, arrays, and other functions of the caller's, whose code is looked at
    in turn; of modules and classes the names.

    Raises
    ------
    ValueError
        If it is, or refers to, an object of which nothing tells whether it is the same next time.
    """
    seen = hashlib.sha256()
    _add(seen, name, function, set())
    return seen.hexdigest()


def _add(seen: Any, name: str, value: Any, visited: set[int]) -> None:
    if id(value) in visited:
        return
    if isinstance(value, _PLAIN):
        seen.update(f"{type(value).__name__} {value!r};".encode())
    elif isinstance(value, torch.Tensor):
        seen.update(f"{value.dtype} {tuple(value.shape)};".encode() + raw_bytes(value))
    elif isinstance(value, np.ndarray) and value.dtype != object:
        seen.update(f"{value.dtype} {value.shape};".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, (tuple, list, set, frozenset, dict)):
        _add_collection(seen, name, value, visited | {id(value)})
    elif isinstance(value, (ModuleType, type, BuiltinFunctionType)):
        seen.update(f"{getattr(value, '__module__', '')}.{value.__name__};".encode())
    else:
        _add_callable(seen, name, value, visited | {id(value)})


def _add_collection(seen: Any, name: str, value: Any, visited: set[int]) -> None:
    items = list(value.items()) if isinstance(value, dict) else list(value)
    seen.update(f"{type(value).__name__} {len(items)};".encode())
    for item in sorted(items, key=repr) if isinstance(value, (set, frozenset)) else items:
        _add(seen, name, item, visited)


def _add_callable(seen: Any, name: str, value: Any, visited: set[int]) -> None:
    if isinstance(value, functools.partial):
        parts: tuple[Any, ...] = (value.func, value.args, value.keywords)
        for part in parts:
            _add(seen, name, part, visited)
    elif isinstance(value, FunctionType):
        _add_code(seen, value.__code__)
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        parts = (value.__defaults__, value.__kwdefaults__, cells)
        for part in parts:
            _add(seen, name, part, visited)
        for word in sorted(_global_names(value.__code__)):
            if word in value.__globals__:
                _add(seen, name, value.__globals__[word], visited)
    elif isinstance(value, MethodType) and isinstance(value.__self__, type):
        _add(seen, name, value.__func__, visited)
    else:
        raise ValueError(
            f"{name} cannot be told apart from others, which checkpoint= needs: it is or refers to a "
            f"{type(value).__name__}; give a plain function of plain values, or leave checkpoint out"
        )


def _add_code(seen: Any, code: CodeType) -> None:
    seen.update(code.co_code + repr((code.co_names, code.co_varnames, code.co_argcount)).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _add_code(seen, constant)
        else:
            seen.update(f"{constant!r};".encode())


def _global_names(code: CodeType) -> set[str]:
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*(_global_names(each) for each in inner))
