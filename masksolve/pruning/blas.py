"""Threads of the BLAS library behind NumPy, where many small systems are solved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


@contextmanager
def one_blas_thread() -> Iterator[int]:
    """Let BLAS use one thread meanwhile; gives the number of threads that it had before.

    Threads that share a system of some hundred unknowns wait for each other at every column. OpenBLAS lets
    them spin while they wait, so that on two cores that have other work, too, a factorisation by two
    threads takes many times as long as by one. Threads with a system each have nothing to wait for.

    It takes the package threadpoolctl. Without it, BLAS is left as it is, and the number is 1.
    """
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        yield 1
        return
    blas = ThreadpoolController().select(user_api="blas")
    before = max((int(each["num_threads"]) for each in blas.info()), default=1)
    with blas.limit(limits=1):
        yield before


def in_threads(xp: Any, work: Callable[[Any], T], cut: Callable[[int], Iterable[Any]]) -> list[T]:
    """Let each of the threads that BLAS would use work on chunks of its own; they hold no lock meanwhile.

    Parameters
    ----------
    xp : namespace
        Other libraries than NumPy share work out by themselves, and get one chunk after another.
    work : callable
        Called with each chunk.
    cut : callable
        Gives the chunks for a number of threads.
    """
    if xp is not np:
        return [work(chunk) for chunk in cut(1)]
    with one_blas_thread() as threads:
        chunks = list(cut(threads))
        if threads == 1 or len(chunks) == 1:
            return [work(chunk) for chunk in chunks]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, chunks))
