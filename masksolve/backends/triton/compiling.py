"""Kernels compiled ahead of time, for GPUs that need not be there, and what they use."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from .launching import INTERPRETED, Rule, constants, kernel_of, options

TARGETS = (80, 90, 100)
"""Compute capabilities, times ten: A100, H100, B200."""

_TYPES = {
    **dict.fromkeys(("mask", "proofs"), "*u8"),
    **dict.fromkeys(("objectives", "bounds", "totals"), "*fp64"),
    **dict.fromkeys(("largest", "tolerance"), "fp64"),
    **dict.fromkeys(("rounds", "down", "across"), "i32"),
}
"""Types of the kernels' arguments; strides and the number of tiles are i64."""


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
        Bytes that a thread keeps in local memory for want of registers.
    shared : int
        Bytes of shared memory of a program.
    """

    name: str
    tiles: int
    warps: int
    registers: int
    spilled: int
    shared: int


def compile_ahead(rule: Rule, height: int, width: int, capability: int, dtype: str = "fp32") -> Compiled:
    """Compile the kernel for tiles of height by width, for an NVIDIA GPU of this capability.

    Parameters
    ----------
    rule : Rule
    height, width : int
        Shape of a tile; groups have height 1.
    capability : int
        Such as 90 for an H100.
    dtype : str
        Type of the scores, as Triton writes it: ``"fp32"``, ``"bf16"``, ...

    Raises
    ------
    RuntimeError
        In a process in which kernels are interpreted.
    """
    if INTERPRETED:
        raise RuntimeError("kernels must not be interpreted here; unset TRITON_INTERPRET")
    kernel = kernel_of(rule, height, width)
    fixed = {**constants(rule, height, width), "PRICED": True, "SUMMED": True}
    prices = "*fp64" if rule.double else "*fp32"
    types = {
        **dict.fromkeys(("row_prices", "column_prices", "begin_with"), prices),
        "scores": f"*{dtype}",
        **_TYPES,
    }
    signature = {name: "constexpr" if name in fixed else types.get(name, "i64") for name in kernel.arg_names}
    settings = options(kernel, fixed["SIDE"])
    source = ASTSource(fn=kernel, signature=signature, constexprs=fixed)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=settings)
    usage = _usage(made.asm["cubin"])
    return Compiled(
        kernel.__name__,
        fixed["TILES"],
        settings["num_warps"],
        usage["REG"],
        usage["STACK"] + usage["LOCAL"],
        int(made.metadata.shared),
    )


def _usage(cubin: Any) -> dict[str, int]:
    """Ask the tool that Triton brings along what a kernel uses."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        ran = subprocess.run([tool, "-res-usage", file.name], check=True, capture_output=True, text=True)
    return {name: int(amount) for name, amount in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", ran.stdout)}
