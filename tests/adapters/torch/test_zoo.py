"""Architectures of transformers, made small: what is masked, in which plane, and that nothing is unreported.

transformers comes with the extra ``trainers-test``.
"""

import pytest

import masksolve as ms

torch = pytest.importorskip("torch")
transformers = pytest.importorskip(
    "transformers", reason="needs transformers: pip install 'masksolve[trainers-test]'"
)

from masksolve.adapters import torch as mt  # noqa: E402

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]

TEXT = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 16,
}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}


def plain(w):
    return w.reshape(len(w), -1) if w.ndim == 2 else w


MODELS = {
    "Llama": (lambda t: t.LlamaForCausalLM(t.LlamaConfig(**TEXT)), 14, plain),
    "Qwen": (lambda t: t.Qwen2ForCausalLM(t.Qwen2Config(**TEXT)), 14, plain),
    "Mixtral": (lambda t: t.MixtralForCausalLM(t.MixtralConfig(**TEXT, **EXPERTS)), 12, plain),
    "GptOss": (
        lambda t: t.GptOssForCausalLM(t.GptOssConfig(**TEXT, **EXPERTS, head_dim=8)),
        12,
        lambda w: w.mT if w.ndim == 3 else w,
    ),
    "GPT-2": (
        lambda t: t.GPT2LMHeadModel(
            t.GPT2Config(vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=16)
        ),
        8,
        lambda w: w.mT,
    ),
    "BERT": (lambda t: t.BertModel(t.BertConfig(**{**TEXT, "num_key_value_heads": None})), 12, plain),
    "ViT": (
        lambda t: t.ViTModel(
            t.ViTConfig(
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=8,
                patch_size=4,
            )
        ),
        12,
        plain,
    ),
    "Whisper": (
        lambda t: t.WhisperModel(
            t.WhisperConfig(
                vocab_size=64,
                d_model=16,
                encoder_layers=2,
                decoder_layers=2,
                encoder_attention_heads=2,
                decoder_attention_heads=2,
                encoder_ffn_dim=32,
                decoder_ffn_dim=32,
                num_mel_bins=8,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=2,
                decoder_start_token_id=1,
            )
        ),
        32,
        plain,
    ),
}


@pytest.mark.parametrize(("make", "count", "matrices"), MODELS.values(), ids=MODELS)
def test_blocks_are_masked_whole_and_the_rest_is_named(make, count, matrices):
    torch.manual_seed(0)
    model = make(transformers)
    full = {name for name, each in model.named_parameters(remove_duplicate=False) if each.ndim > 1}
    sparsifier = mt.sparsify(model, "2:4")
    report = {layer.name: layer for layer in sparsifier.report().layers}
    assert {name.removesuffix(".weight") for name in full} == set(report)
    masks = sparsifier.masks
    assert len(masks) == count, [(name, layer.skipped) for name, layer in report.items()]
    for mask in masks.values():
        assert ms.verify(matrices(mask).contiguous(), "2:4").ok
    left = {name: layer.skipped for name, layer in report.items() if layer.skipped}
    assert all(left.values())
    sparsifier.finalize()
