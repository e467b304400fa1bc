"""Time of ADMM on large layers: ``python -m examples.language_model.scale``.

Weights and inputs are random: inputs depend on each other, and a few are large, as in language models.
Errors mean nothing here; times do.
"""

from __future__ import annotations

import argparse
import time

import torch

import masksolve as ms

SHAPES = {
    "attention (4 of these)": (2048, 2048),
    "gate, up (2 of these)": (5504, 2048),
    "down (1 of these)": (2048, 5504),
}
"""Matrices (outputs, inputs) of a decoder block of width 2048 with a hidden width of 5504."""


def inputs_of(tokens: int, inputs: int, generator: torch.Generator) -> torch.Tensor:
    """Random inputs with a decaying spectrum, and one feature in a hundred ten times as large."""
    rank = max(inputs // 8, 1)
    shared = torch.randn(tokens, rank, generator=generator) @ torch.randn(rank, inputs, generator=generator)
    x = shared / rank**0.5 + 0.5 * torch.randn(tokens, inputs, generator=generator)
    x[:, ::100] *= 10
    return x


def measure(shape: tuple[int, int], pattern: str, tokens: int, device: str) -> dict[str, float]:
    """Seconds of wall time, seconds of all processors, iterations, and the relative error."""
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(shape, generator=generator).to(device)
    x = inputs_of(tokens, shape[1], generator).to(device)
    numbers: list[int] = []
    begun, processor = time.perf_counter(), time.process_time()
    seen = ms.saliency.Statistics.empty(shape[1], like=w, dtype="float32")
    seen.update(x)
    found, _ = ms.reconstruction.admm(w, seen.gram, pattern, progress=lambda i: numbers.append(i.number))
    gram = seen.gram
    error = ms.reconstruction.output_error(w, found, gram).sum()
    whole = ms.reconstruction.output_error(w, torch.zeros_like(w), gram).sum()
    relative = float(error / whole)  # waits for the device
    return {
        "seconds": time.perf_counter() - begun,
        "processor_seconds": time.process_time() - processor,
        "iterations": len(numbers),
        "error": relative,
    }


def main() -> None:
    """Print a line for each shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pattern", default="2:4-T")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shapes", nargs="+", help="such as 2048x5504; default those of one block")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shapes = SHAPES
    if options.shapes:
        shapes = {each: tuple(map(int, each.split("x"))) for each in options.shapes}  # type: ignore[misc]
    for name, shape in shapes.items():
        found = measure(shape, options.pattern, options.tokens, options.device)
        print(f"{name:24} {shape}:", *(f"{key} {value:.4g}" for key, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
