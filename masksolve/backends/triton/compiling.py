"""Kernels compiled ahead of time, for GPUs that need not be there, and what they use."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import create_function_from_signature

from .launching import INTERPRETED, Rule, Task, prepared

TARGETS = (80, 90, 100)
"""Compute capabilities, times ten: A100, H100, B200."""

_LENGTH = 8192
"""Of a row of the matrix, about: like that of weights, a multiple of what the widest reads take."""


class Compiled(NamedTuple):
    """What the assembler says of a kernel.

    Attributes
    ----------
    name : str
    tiles, warps : int
        Tiles of a program, and warps of 32 threads that share it.
    registers : int
        Of a thread; 255 are the most that the hardware has.
    spilled : int
        Instructions that write or read local memory, where a thread keeps what registers have no room for.
    shared : int
        Bytes of shared memory of a program.
    """

    name: str
    tiles: int
    warps: int
    registers: int
    spilled: int
    shared: int


def compile_ahead(
    rule: Rule,
    height: int,
    width: int,
    capability: int,
    dtype: torch.dtype = torch.float32,
    *,
    transposed: bool = False,
) -> Compiled:
    """Compile the kernel for tiles of a matrix as a launch would, for an NVIDIA GPU of this capability.

    Triton compiles a kernel anew for what it finds in the arguments of a launch: types, integers that are 1,
    addresses and strides that 16 divides. The arguments of such a launch are made here, too, of tensors on
    the host, which nobody reads.

    Parameters
    ----------
    rule : Rule
    height, width : int
        Shape of a tile; groups have height 1.
    capability : int
        Such as 90 for an H100.
    dtype : torch.dtype
        Of the scores.
    transposed : bool
        Whether neighbours in a column are neighbours in memory, instead of those in a row.

    Raises
    ------
    RuntimeError
        In a process in which kernels are interpreted.
    """
    if INTERPRETED:
        raise RuntimeError("kernels must not be interpreted here; unset TRITON_INTERPRET")
    kernel, arguments, settings, _ = prepared(_sample(rule, height, width, dtype, transposed), rule)
    target = GPUTarget("cuda", capability, 32)
    backend = make_backend(target)
    binder = create_function_from_signature(kernel.signature, kernel.params, backend)
    bound, special, chosen = binder(*arguments, **settings)
    chosen, signature, constants, attributes = kernel._pack_args(backend, settings, bound, special, chosen)
    source = ASTSource(kernel, signature, constants, attributes)
    made = triton.compile(source, target=target, options=chosen.__dict__)
    registers, spilled = _usage(made.asm["cubin"])
    shared = int(made.metadata.shared)
    return Compiled(kernel.__name__, settings["TILES"], settings["num_warps"], registers, spilled, shared)


def _sample(rule: Rule, height: int, width: int, dtype: torch.dtype, transposed: bool) -> Task:
    """Tiles of two rows of a matrix, with room for everything that can be asked for."""

    def view(dtype: torch.dtype) -> torch.Tensor:
        rows, columns = (width, height) if transposed else (height, width)
        matrix = torch.zeros((2 * rows, _LENGTH // columns * columns), dtype=dtype)
        tiles = matrix.view(2, rows, -1, columns).movedim(-2, -3)
        return tiles.mT if transposed else tiles

    scores = view(dtype)
    count, prices = scores.shape[0] * scores.shape[1], torch.float64 if rule.double else torch.float32
    rows, columns = (torch.zeros((count, side), dtype=prices) for side in (height, width))
    objective, bound = (torch.zeros((count,), dtype=torch.float64) for _ in range(2))
    return Task(
        scores, view(torch.bool), rows, columns, objective, bound, torch.zeros(count, dtype=torch.bool)
    )


def _usage(cubin: Any) -> tuple[int, int]:
    """Count registers of a thread, and instructions on local memory, by the tool that Triton brings along.

    The stack that it reports as well is no measure: a kernel may have one that no instruction touches.
    """
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        shown = [
            subprocess.run([tool, option, file.name], check=True, capture_output=True, text=True).stdout
            for option in ("-res-usage", "-sass")
        ]
    registers = max(int(amount) for amount in re.findall(r"\bREG:(\d+)", shown[0]))
    return registers, len(re.findall(r"\b(?:STL|LDL)\b", shown[1]))
