"""Threads of the BLAS library behind NumPy, where many small systems are solved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


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
