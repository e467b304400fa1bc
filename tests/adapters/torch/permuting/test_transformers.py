"""Small random encoders and decoders of the transformers package."""

from __future__ import annotations

from typing import Any

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


def test_rotary_embeddings_hold_queries_and_keys() -> None:
    torch.manual_seed(0)
    report = mt.permute(*llama(), "2:4-T")
    held = {(each.parameter, each.axis): each.reason for each in report.held}
    assert held["model.layers.0.self_attn.q_proj.weight", 0].startswith("mul")
