"""Exact masks on a GPU: one kernel reads a tile, solves it, proves it, and writes its mask.

The method is that of `masksolve.backends.batched`, dual prices first and then shortest augmenting paths, but
nothing goes through memory between two steps. A *program* (Triton's word for a block of threads) holds a few
tiles in its registers from the first load to the last store:

::

    launching -> solving (m by m tiles), pairing (2:4-T) or ranking (groups) -> proving -> backend

Importing this package imports neither Triton nor torch.
"""
