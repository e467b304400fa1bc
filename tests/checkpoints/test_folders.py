"""Folders of shards: what is pruned, what is carried over, and what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from weight_files import check_pruned, contents, folder, gaussian

import masksolve as ms

PRUNED = re.compile(r"q_proj|up_proj|experts")


def tensors(path: Path) -> dict[str, np.ndarray]:
    return {name: array for file in path.glob("*.safetensors") for name, array in load_file(file).items()}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("pattern", ["2:4", "2:4-T", "4:8-T"])
def test_a_folder(tmp_path: Path, pattern: str, tied: bool) -> None:
    source = folder(tmp_path / "in", tied=tied)
    before = contents(source)
    report = ms.checkpoints.prune(source, tmp_path / "out", pattern)
    assert contents(source) == before
    old, new = tensors(source), tensors(tmp_path / "out")
    assert set(old) == set(new)
    for name, array in old.items():
        if PRUNED.search(name):
            check_pruned(array.astype(np.float32), new[name].astype(np.float32), pattern)
            kept = new[name] != 0
            assert np.array_equal(array[kept].view(np.uint16), new[name][kept].view(np.uint16))
        else:
            assert array.tobytes() == new[name].tobytes()
    reasons = {tensor.name: tensor.skipped for tensor in report.left_alone}
    assert reasons["model.embed_tokens.weight"] == "embedding"
    assert reasons["model.layers.0.mlp.gate.weight"] == "router"
    assert reasons["model.norm.weight"] == "1 axis"
    assert reasons.get("lm_head.weight") == (None if tied else "head")
    assert {tensor.name for tensor in report.pruned} == set(filter(PRUNED.search, old))
    assert all(tensor.status == "OPTIMAL" for tensor in report.pruned)


def test_everything_beside_the_weights_comes_along(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    (source / "extra").mkdir()
    (source / "extra" / "vocab.txt").write_text("word")
    (source / "weights.gguf").write_bytes(b"dense")
    (source / "pytorch_model.bin").write_bytes(b"dense")
    (source / "optimizer.pt").write_bytes(b"state")
    (source / ".git").mkdir()
    (source / ".git" / "config").write_text("")
    (source / "config.json").chmod(0o640)
    source.chmod(0o750)
    report = ms.checkpoints.prune(source, tmp_path / "out", "2:4")
    new = contents(tmp_path / "out")
    for name in ("config.json", "tokenizer.json", "extra/vocab.txt"):
        assert new[name] == contents(source)[name]
    assert set(report.left_out) == {"weights.gguf", "pytorch_model.bin", "optimizer.pt"}
    assert not set(new) & set(report.left_out)
    assert not any(name.startswith(".git") for name in new)
    assert (tmp_path / "out" / "config.json").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


def test_the_index_fits_the_files(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    path = source / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    del index["weight_map"]["model.norm.weight"]
    index["metadata"] = {"total_size": 1, "made_by": "somebody"}
    path.write_text(json.dumps(index))
    ms.checkpoints.prune(path, tmp_path / "out", "2:4")
    new = json.loads((tmp_path / "out" / path.name).read_text())
    held = {name: file.name for file in (tmp_path / "out").glob("*.safetensors") for name in load_file(file)}
    assert new["weight_map"] == held
    total = sum(array.nbytes for array in tensors(tmp_path / "out").values())
    assert new["metadata"] == {"total_size": total, "made_by": "somebody"}


def test_transformers_loads_what_was_pruned(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=40
    )
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "in", max_shard_size="30KB")
    assert len(list((tmp_path / "in").glob("*.safetensors"))) > 1
    ms.checkpoints.prune(tmp_path / "in", tmp_path / "out", "2:4-T")
    loaded = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.bfloat16)
    before = model.state_dict()
    for name, tensor in loaded.state_dict().items():
        kept = tensor != 0
        assert torch.equal(tensor[kept], before[name][kept])
        if "proj" in name:
            assert float(kept.float().mean()) == pytest.approx(0.5, abs=0.01)
            assert ms.verify(kept.numpy(), "2:4-T at_most")


def test_recipes(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        '[patterns]\n"*.layers.0.*" = "dense"\n"*up_proj*" = "4:8-T"\n'
        '"*q_proj*" = {pattern = "1:4"}\n"lm_head*" = "2:4"\n'
    )
    report = ms.checkpoints.prune(source, tmp_path / "out", recipe=recipe)
    found = {tensor.name: tensor.pattern or tensor.skipped for tensor in report.tensors}
    assert found["model.layers.0.self_attn.q_proj.weight"] == "dense in the recipe"
    assert found["model.layers.1.self_attn.q_proj.weight"] == "1:4"
    assert found["model.layers.1.mlp.up_proj.weight"] == "4:8-T"
    assert found["model.layers.1.mlp.experts.down_proj"] == "no line of the recipe matches"
    assert found["lm_head.weight"] == "2:4"
    assert ms.checkpoints.verify(tmp_path / "out").ok
    assert not ms.checkpoints.verify(tmp_path / "out", "1:8").ok


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patterns = 3", "one table"),
        ("[other]", "one table"),
        ("no toml", "must be TOML"),
        ('[patterns]\n"*" = "4:2"', "n must be between"),
        ('[patterns]\n"*" = {pattern = "2:4", axes = [1]}', "must be a pattern"),
    ],
)
def test_bad_recipes(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(ms.CheckpointError, match=message):
        ms.checkpoints.plan(folder(tmp_path / "in"), recipe=tmp_path / "r.toml")


@pytest.mark.parametrize(("include", "head"), [("*", False), ("*.weight", False), ("lm_head*", True)])
def test_a_head_is_pruned_only_if_a_glob_names_it(tmp_path: Path, include: str, head: bool) -> None:
    plan = ms.checkpoints.plan(folder(tmp_path / "in"), "2:4", include=[include])
    (step,) = (step for step in plan.steps if step.entry.name == "lm_head.weight")
    assert (step.pattern is not None) == head


def test_groups_run_along_the_inputs_of_models_that_store_them_first(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    weights = gaussian(16, 8)
    save_file({"h.0.attn.c_attn.weight": weights}, tmp_path / "in" / "model.safetensors")
    (tmp_path / "in" / "config.json").write_text('{"model_type": "gpt2"}')
    ms.checkpoints.prune(tmp_path / "in", tmp_path / "out", "2:4")
    check_pruned(weights, tensors(tmp_path / "out")["h.0.attn.c_attn.weight"], "2:4 axis=0")


# What is refused


def _index(source: Path, file: str) -> None:
    path = source / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["lm_head.weight"] = file
    path.write_text(json.dumps(index))


def _link_to_nothing(source: Path) -> None:
    (source / "more.safetensors").symlink_to(source / "nowhere")


HOSTILE = {
    "outside": (lambda source: _index(source, "../secret.safetensors"), "must name files in its folder"),
    "absolute": (lambda source: _index(source, "/etc/passwd"), "must name files in its folder"),
    "missing": (lambda source: _index(source, "model-9.safetensors"), "which is not in the folder"),
    "wrong": (
        lambda source: _index(source, "model-00001-of-00003.safetensors"),
        "has no tensor 'lm_head.weight'",
    ),
    "not_json": (lambda source: (source / "model.safetensors.index.json").write_text("{"), "must be JSON"),
    "no_map": (lambda source: (source / "model.safetensors.index.json").write_text("{}"), "weight_map"),
    "truncated": (
        lambda source: os.truncate(source / "model-00002-of-00003.safetensors", 3000),
        "model-00002-of-00003.safetensors' must be a whole",
    ),
    "empty": (lambda source: os.truncate(source / "model-00002-of-00003.safetensors", 0), "it is empty"),
    "link": (_link_to_nothing, "symbolic link to nothing"),
    "bare": (
        lambda source: [file.unlink() for file in source.glob("*.safetensors")],
        "must hold weight files",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_folders(tmp_path: Path, case: str) -> None:
    source = folder(tmp_path / "in")
    spoil, message = HOSTILE[case]
    spoil(source)
    before = contents(source)
    with pytest.raises(ms.CheckpointError, match=message):
        ms.checkpoints.prune(source, tmp_path / "out", "2:4")
    assert contents(source) == before
    assert os.listdir(tmp_path) == ["in"]


def test_links_out_of_the_folder_are_not_carried_over(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    (tmp_path / "secret.json").write_text("secret")
    (source / "notes.json").symlink_to(tmp_path / "secret.json")
    (source / "subfolder").symlink_to(tmp_path)
    report = ms.checkpoints.prune(source, tmp_path / "out", "2:4")
    assert set(report.left_out) == {"notes.json", "subfolder"}
    assert "notes.json" not in contents(tmp_path / "out")


def test_a_download_cache_of_links_is_read(tmp_path: Path) -> None:
    plain = folder(tmp_path / "plain")
    snapshot = tmp_path / "cache" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    shutil.copytree(plain, tmp_path / "cache" / "blobs")
    for name in os.listdir(plain):
        (snapshot / name).symlink_to(Path("../../blobs") / name)
    ms.checkpoints.prune(snapshot, tmp_path / "out", "2:4")
    ms.checkpoints.prune(plain, tmp_path / "out2", "2:4")
    assert contents(tmp_path / "out") == contents(tmp_path / "out2")
    assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())


def test_outputs_that_must_not_be_replaced(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    (tmp_path / "file").write_text("")
    for target, message in (
        (tmp_path / "home", "did not write"),
        (tmp_path / "file", "must be a folder"),
        (source / "inner", "must not lie in each other"),
        (tmp_path, "must not lie in each other"),
        (source, "--force"),
    ):
        with pytest.raises(ms.CheckpointError, match=message):
            ms.checkpoints.prune(source, target, "2:4", force=target == tmp_path / "home")
    assert sorted(os.listdir(tmp_path)) == ["file", "home", "in"]


def test_a_folder_may_replace_itself_on_demand(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    ms.checkpoints.prune(folder(tmp_path / "same"), tmp_path / "out", "2:4")
    ms.checkpoints.prune(source, source, "2:4", force=True)
    assert contents(source) == contents(tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["in", "out", "same"]


def test_a_refused_tensor_is_named_and_nothing_stays(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    bad = gaussian(16, 16, dtype=ml_dtypes.bfloat16)
    bad[3, 5] = np.nan
    save_file({"extra.weight": bad}, source / "z.safetensors")
    with pytest.raises(ValueError, match=r"tensor 'extra.weight'.*finite"):
        ms.checkpoints.prune(source, tmp_path / "out", "2:4")
    assert os.listdir(tmp_path) == ["in"]


def test_a_distributed_checkpoint_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "dcp").mkdir()
    (tmp_path / "dcp" / "__0_0.distcp").write_bytes(b"x")
    (tmp_path / "dcp" / ".metadata").write_bytes(b"x")
    with pytest.raises(ms.CheckpointError, match=r"convert it first: python -m torch\.distributed"):
        ms.checkpoints.plan(tmp_path / "dcp", "2:4")
