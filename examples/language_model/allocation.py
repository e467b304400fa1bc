"""One n for all layers, or n by layer: ``python -m examples.language_model.allocation``.

SmolLM2-135M is pruned without repair to one total sparsity: once by the same n:m everywhere, and once with
the n of every layer by `masksolve.allocate`. Scores say what a weight is worth; between layers they must be
comparable. ``loss/output`` chooses n by the one and the masks within a layer by the other. Results go to a
JSON file as they come, and are not measured again.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

import masksolve as ms

from .model import load, perplexity, windows
from .texts import corpora

LENGTH = 512
SCORES = ("magnitude", "share", "output", "relative output", "loss", "loss/output")
Tensors = dict[str, torch.Tensor]


def layers_of(model: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers of the blocks, which all get pruned."""
    return {name: layer for name, layer in model.model.layers.named_modules() if isinstance(layer, nn.Linear)}


def calibrate(model: nn.Module, tokens: torch.Tensor) -> tuple[Tensors, Tensors]:
    """Mean squares of every layer's inputs (inputs,) and outputs (), over the calibration text."""
    squares: Tensors = {}
    outputs: Tensors = {}

    def watch(name: str) -> Any:
        def hook(_: nn.Module, given: tuple[torch.Tensor], out: torch.Tensor) -> None:
            x = given[0].flatten(0, -2)
            squares[name] = squares.get(name, torch.zeros(x.shape[-1])) + x.square().mean(0) / len(tokens)
            outputs[name] = outputs.get(name, torch.zeros(())) + out.square().sum(-1).mean() / len(tokens)

        return hook

    hooks = [layer.register_forward_hook(watch(name)) for name, layer in layers_of(model).items()]
    with torch.inference_mode():
        for window in tokens:
            model(input_ids=window[None])
    for hook in hooks:
        hook.remove()
    return squares, outputs


def gradients(model: nn.Module, tokens: torch.Tensor) -> Tensors:
    """Mean squares of the loss's gradient of every weight, over windows of the calibration text."""
    layers = layers_of(model)
    found = {name: torch.zeros_like(layer.weight) for name, layer in layers.items()}
    for window in tokens:
        model.zero_grad()
        model(input_ids=window[None], labels=window[None]).loss.backward()
        for name, layer in layers.items():
            assert layer.weight.grad is not None
            found[name] += layer.weight.grad.square() / len(tokens)
    model.zero_grad()
    return found


def scores_of(kind: str, model: nn.Module, seen: tuple[Tensors, Tensors, Tensors]) -> Tensors:
    """What every weight is worth.

    ``magnitude``: \\|w\\|. ``share``: \\|w\\| as a share of its layer's sum, times its number of weights.
    ``output``: w^2 E[x^2], what its input adds to the output's energy. ``relative output``: this as a share
    of the energy of the layer's outputs. ``loss``: w^2 E[g^2] with the loss's gradient g, by which dropping
    the weight raises the loss in second order (the diagonal of the empirical Fisher information).
    """
    squares, outputs, slopes = seen
    found: Tensors = {}
    for name, layer in layers_of(model).items():
        w = layer.weight.detach()
        if kind in ("magnitude", "share"):
            found[name] = w.abs() / (w.abs().mean() if kind == "share" else 1)
        elif kind == "loss":
            found[name] = w.square() * slopes[name]
        else:
            found[name] = w.square() * squares[name] / (outputs[name] if "relative" in kind else 1)
    return found


def pruned(model: nn.Module, masks: Mapping[str, torch.Tensor]) -> nn.Module:
    """A copy of the model without the weights that the masks drop."""
    twin = copy.deepcopy(model)
    for name, layer in layers_of(twin).items():
        layer.weight.data *= masks[name]
    return twin


def contests(arguments: argparse.Namespace) -> Iterator[tuple[str, str, float | None]]:
    """Scores, pattern and sparsity (None: the pattern's) of every comparison."""
    for kind in arguments.scores:
        for text in arguments.patterns:
            yield kind, text, arguments.sparsity


def compare(
    model: nn.Module,
    seen: tuple[Tensors, Tensors, Tensors],
    test: torch.Tensor,
    contest: tuple[str, str, float | None],
) -> dict[str, Any]:
    """Perplexities with one n and with allocated n; both within the same budget."""
    kind, text, sparsity = contest
    by, _, within = kind.partition("/")
    scores = scores_of(by, model, seen)
    found = ms.allocate(scores, text, sparsity=sparsity)
    pattern = ms.Pattern(text)
    n = pattern.n if sparsity is None else math.floor(pattern.m * (1 - sparsity) + 1e-9)
    uniform = ms.allocate(scores, text, sparsity=sparsity, choices=(n,))
    row: dict[str, Any] = {"scores": kind, "pattern": text, "sparsity": 1 - n / pattern.m}
    own = scores_of(within or by, model, seen)
    for name, each in (("uniform", uniform), ("allocated", found)):
        masks = {layer: ms.solve(own[layer], pattern).mask for layer, pattern in each.patterns.items()}
        row[name] = perplexity(pruned(model, masks), test)
        row[f"{name}_kept"] = each.objective / float(found.levels.value[:, -1].sum())
        row[f"{name}_zeros"] = each.sparsity
    counts: dict[str, list[int]] = {}
    for name, each in found.patterns.items():
        counts.setdefault(name.split(".", 1)[1], []).append(each.n)
    return row | {"gap": found.gap, "n": {name: sum(ns) / len(ns) for name, ns in counts.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", nargs="+", choices=SCORES, default=SCORES)
    parser.add_argument("--patterns", nargs="+", default=["4:8", "4:8-T"])
    parser.add_argument("--sparsity", type=float)
    parser.add_argument("--samples", type=int, default=8, help=f"calibration windows of {LENGTH} tokens")
    parser.add_argument("--test", type=int, default=4, help=f"test windows of {LENGTH} tokens")
    parser.add_argument("--texts", type=Path, default=Path("/"), help="where the Debian packages are")
    parser.add_argument("--json", type=Path, help="write figures here; goes on from it if it is there")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = json.loads(arguments.json.read_text()) if arguments.json and arguments.json.exists() else []
    known = [(row["scores"], row["pattern"], row["asked"]) for row in rows]
    model, tokenizer = load()
    texts = corpora(arguments.texts)
    test = windows(tokenizer, texts["handbook"], arguments.test, LENGTH)
    calibration = windows(tokenizer, texts["calibration"], arguments.samples, LENGTH)
    slopes = gradients(model, calibration) if "loss" in " ".join(arguments.scores) else {}
    seen = (*calibrate(model, calibration), slopes)
    if not rows:
        print(f"dense: {perplexity(model, test):.2f}", flush=True)
    for contest in contests(arguments):
        if contest in known:
            continue
        row = compare(model, seen, test, contest) | {"asked": contest[2]}
        print(json.dumps(row), flush=True)
        rows.append(row)
        if arguments.json:
            arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
