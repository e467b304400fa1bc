"""Every kernel compiled ahead of time for three GPUs: it compiles, and no register spills up to m = 16."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")

SCRIPT = """
import json, sys
import torch
from masksolve.backends.triton.compiling import compile_ahead
from masksolve.backends.triton.launching import Rule
made = []
for n, at_most, double, height, width, capability, dtype, transposed in json.loads(sys.argv[1]):
    rule = Rule(n, at_most, "magnitude", double, 1e300 if double else 1e30, 1e-6, 3)
    kernel = compile_ahead(rule, height, width, capability, getattr(torch, dtype), transposed=transposed)
    made.append(kernel._asdict())
print(json.dumps(made))
"""
CASES = [
    *((2, False, False, 4, 4, target, "float32", False) for target in (80, 90, 100)),
    *((4, True, False, 1, 8, target, "bfloat16", False) for target in (80, 90, 100)),
    *((4, False, False, 8, 8, target, "float32", False) for target in (80, 90, 100)),
    (2, False, False, 4, 4, 90, "bfloat16", True),
    (2, False, False, 1, 4, 90, "float32", True),
    (2, True, False, 4, 4, 90, "float16", False),
    (8, False, False, 16, 16, 90, "bfloat16", False),
    (8, True, False, 16, 16, 90, "float32", False),
    (8, True, True, 16, 16, 90, "float64", True),
]


def test_no_kernel_spills(
    record_property: Callable[[str, Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, since kernels are interpreted in this one."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, json.dumps(CASES)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    made = json.loads(ran.stdout)
    assert {kernel["name"] for kernel in made} == {"pair", "rank", "solve"}
    for case, kernel in zip(CASES, made, strict=True):
        record_property(str(case), kernel)
        assert kernel["spilled"] == 0, f"{case}: {kernel}"
        assert 0 < kernel["registers"] <= 255
