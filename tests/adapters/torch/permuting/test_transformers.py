"""Small random encoders and decoders of the transformers package."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("scipy")

from masksolve.adapters import torch as mt  # noqa: E402

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]

IDS = torch.arange(14).reshape(2, 7) * 7 % 90
SMALL = {"vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def bert() -> tuple[Any, Any]:
    config = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, **SMALL
    )
    return transformers.BertForMaskedLM(config), IDS


def llama() -> tuple[Any, Any]:
    config = transformers.LlamaConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=64, **SMALL,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config), {"input_ids": IDS, "use_cache": False}


def gpt2() -> tuple[Any, Any]:
    config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=32, **SMALL)
    return transformers.GPT2LMHeadModel(config), {"input_ids": IDS, "use_cache": False}


MODELS = {"bert": bert, "llama": llama, "gpt2": gpt2}

FREE = {
    # The residual stream (with the head, whose embeddings are tied), heads' inner dimensions and hidden
    # dimensions: how many of each size.
    "bert": {32: 1, 8: 16, 64: 2},
    "llama": {32: 1, 8: 4, 64: 2},
    "gpt2": {32: 1, 8: 16, 128: 2},
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_outputs_stay_and_everything_free_moves(name: str, attention: str) -> None:
    torch.manual_seed(0)
    model, example = MODELS[name]()
    model.set_attn_implementation(attention)
    model.eval()
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5)
    arguments = example if isinstance(example, dict) else {"input_ids": example}
    expected = model(**arguments).logits.detach()
    report = mt.permute(model, example, "2:4-T", passes=3)
    change = (model(**arguments).logits - expected).abs().max() / expected.abs().max()
    assert change < 1e-5
    assert not report.refused
    assert report.objective > report.before
    sizes = [each.channels for each in report.dimensions]
    for size, count in FREE[name].items():
        # An order that gains nothing is not applied, which small heads are prone to.
        assert sizes.count(size) == count or (size == 8 and count / 2 < sizes.count(size) <= count)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight or name == "llama"


def test_positions_of_a_vision_transformer_hold_no_channels() -> None:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, image_size=16,
        patch_size=8, num_labels=8,
    )  # fmt: skip
    model, images = transformers.ViTForImageClassification(config).eval(), torch.randn(2, 3, 16, 16)
    expected = model(images).logits.detach()
    report = mt.permute(model, images, "2:4-T", rounds=2)
    change = (model(images).logits - expected).abs().max() / expected.abs().max()
    assert change < 1e-5
    assert not report.refused
    positions = "vit.embeddings.position_embeddings"
    (stream,) = (each for each in report.dimensions if each.channels == 32)
    assert f"{positions}[2]" in stream.name
    (held,) = (each for each in report.held if each.parameter == positions)
    assert (held.axis, held.channels) == (1, 5)
    assert held.reason.startswith("add")


GROUPED = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 32, "intermediate_size": 64, **SMALL,
}  # fmt: skip
ROTARY = {
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**GROUPED)),
    "mistral": lambda: transformers.MistralForCausalLM(
        transformers.MistralConfig(sliding_window=4, **GROUPED)
    ),
    "qwen2": lambda: transformers.Qwen2ForCausalLM(  # with biases of queries, keys and values
        transformers.Qwen2Config(**(GROUPED | {"hidden_size": 128}))
    ),
    "qwen3": lambda: transformers.Qwen3ForCausalLM(  # with norms of queries and keys
        transformers.Qwen3Config(**GROUPED)
    ),
}


def rotary(name: str) -> tuple[Any, dict[str, Any]]:
    torch.manual_seed(0)
    model = ROTARY[name]().eval()
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5)
    return model, {"input_ids": IDS, "use_cache": False}


@pytest.mark.parametrize("name", ROTARY)
def test_frequencies_that_are_not_saved_hold_queries_and_keys(name: str) -> None:
    model, example = rotary(name)
    frequencies = model.model.rotary_emb.inv_freq.clone()
    expected = model(**example).logits.detach()
    report = mt.permute(model, example, "2:4-T", rounds=2)
    held = {(each.parameter, each.axis): (each.channels, each.reason) for each in report.held}
    for layer, projection, channels in ((0, "q_proj", 128), (1, "k_proj", 64)):
        key = (f"model.layers.{layer}.self_attn.{projection}.weight", 0)
        assert held[key] == (
            channels,
            "model.rotary_emb.inv_freq, a buffer that is not saved with the model",
        )
    assert torch.equal(model.model.rotary_emb.inv_freq, frequencies)
    # Values and outputs move inside each key and value head, for all query heads that it serves.
    values = [each for each in report.dimensions if "v_proj.weight[0]" in each.name]
    assert len(values) == 4
    assert all(each.channels == 32 and "o_proj.weight[1]" in each.name for each in values)
    change = (model(**example).logits - expected).abs().max() / expected.abs().max()
    assert change < 1e-5


@pytest.mark.parametrize("name", ROTARY)
def test_pairs_of_queries_and_keys_move_with_their_frequencies(name: str) -> None:
    model, example = rotary(name)
    frequencies = model.model.rotary_emb.inv_freq.clone()
    expected = model(**example).logits.detach()
    report = mt.permute(model, example, "2:4-T", unsaved_buffers=True, rounds=2)
    change = (model(**example).logits - expected).abs().max() / expected.abs().max()
    assert change < 1e-5
    assert not report.refused
    assert not any("q_proj" in each.parameter and each.axis == 0 for each in report.held)
    (pairs,) = (each for each in report.dimensions if "inv_freq[0]" in each.name)
    assert pairs.channels == 16
    assert all(f"layers.{k}.self_attn.{w}_proj.weight[0]" in pairs.name for k in (0, 1) for w in "qk")
    order = report.orders["model.rotary_emb.inv_freq", 0]
    assert torch.equal(model.model.rotary_emb.inv_freq, frequencies[order])
    rows = report.orders["model.layers.0.self_attn.q_proj.weight", 0].reshape(4, 2, 16)
    np.testing.assert_array_equal(rows, np.arange(8).reshape(4, 2, 1) * 16 + order)
    # A model made anew has the frequencies in their old order, until the report's is applied.
    fresh = ROTARY[name]().eval()
    fresh.load_state_dict(model.state_dict())
    assert (fresh(**example).logits - expected).abs().max() / expected.abs().max() > 1e-3
    fresh.model.rotary_emb.inv_freq.copy_(fresh.model.rotary_emb.inv_freq[order])
    assert (fresh(**example).logits - expected).abs().max() / expected.abs().max() < 1e-5
