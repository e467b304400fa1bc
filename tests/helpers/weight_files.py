"""Weight files for the tests of checkpoints and of the command line, and the command itself."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import save_file

import masksolve as ms
from masksolve.cli.app import cli

METADATA = {"format": "pt", "note": "keep me [bold]as I am[/bold]"}


def run(*arguments: object, width: int = 100) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], env={"COLUMNS": str(width)})


def succeed(*arguments: object, width: int = 100) -> str:
    result = run(*arguments, width=width)
    assert result.exit_code == 0, result.output
    return result.stdout


def fail(*arguments: object, status: int = 2) -> str:
    """The one line on standard error with which a command refuses."""
    result = run(*arguments)
    assert result.exit_code == status, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("masksolve: ")
    return lines[0]


def gaussian(*shape: int, dtype: object = np.float32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def model() -> dict[str, np.ndarray]:
    return {
        "encoder.weight": gaussian(16, 32),
        "encoder.half": gaussian(8, 16, dtype=np.float16, seed=1),
        "encoder.brain": gaussian(16, 8, dtype=ml_dtypes.bfloat16, seed=2),
        "encoder.double": gaussian(8, 8, dtype=np.float64, seed=3),
        "odd.weight": gaussian(10, 16, seed=4),
        "bias": gaussian(16, seed=5),
        "conv": gaussian(8, 16, 3, 3, seed=6),
        "steps": np.arange(64).reshape(8, 8),
    }


def check_pruned(before: np.ndarray, after: np.ndarray, pattern: str) -> None:
    """``after`` is ``before`` where an optimal mask keeps, and zero elsewhere."""
    scores = np.abs(before)
    mask = after != 0
    assert ms.verify(mask, pattern)
    assert np.array_equal(after[mask], before[mask])
    expected = ms.solve(scores, pattern)
    assert float(scores[mask].sum(dtype=np.float64)) == pytest.approx(expected.objective, rel=1e-12)


def npz_bytes(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npy_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def safetensors_bytes(header: dict[str, object], data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


GOOD = npy_bytes(gaussian(8, 8))


def program(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "masksolve", *map(str, arguments)],
        capture_output=True,
        check=False,
        encoding="utf-8",
        env={**os.environ, **environment},
    )


def folder(
    path: Path, *, layers: int = 3, width: int = 32, tied: bool = False, dtype: object = ml_dtypes.bfloat16
) -> Path:
    """A small model as a folder: two shards, one with nothing to prune, index, config, tokenizer."""
    shards: list[dict[str, np.ndarray]] = [{}, {}, {}]
    seed = 0

    def make(*shape: int) -> np.ndarray:
        nonlocal seed
        seed += 1
        return gaussian(*shape, dtype=ml_dtypes.bfloat16, seed=seed)

    shards[0]["model.embed_tokens.weight"] = make(64, width)
    for layer in range(layers):
        shard, name = shards[layer * 2 // layers], f"model.layers.{layer}"
        shard[f"{name}.self_attn.q_proj.weight"] = make(width, width)
        shard[f"{name}.mlp.up_proj.weight"] = make(2 * width, width)
        shard[f"{name}.mlp.gate.weight"] = make(8, width)
        shard[f"{name}.mlp.experts.down_proj"] = make(4, width, 2 * width)
        shard[f"{name}.input_layernorm.weight"] = make(width)
    shards[2]["model.norm.weight"] = make(width)
    if not tied:
        shards[2]["lm_head.weight"] = make(64, width)
    path.mkdir(parents=True)
    places = {}
    for number, tensors in enumerate(shards, 1):
        name = f"model-{number:05}-of-00003.safetensors"
        save_file(tensors, path / name, {"format": "pt"})
        places.update(dict.fromkeys(tensors, name))
    total = sum(tensor.nbytes for tensors in shards for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    (path / "config.json").write_text(json.dumps({"model_type": "llama", "tie_word_embeddings": tied}))
    (path / "tokenizer.json").write_text("{}")
    return path


def contents(path: Path) -> dict[str, str]:
    """Digest of every file below a folder."""
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
