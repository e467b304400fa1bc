"""Architectures of transformers, made small: what is masked, in which plane, and that nothing is unreported.

transformers comes with the extra ``trainers-test``.
"""

import copy

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
                max_source_positions=8,
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


EVERY = pytest.mark.parametrize(("make", "count", "matrices"), MODELS.values(), ids=MODELS)


@EVERY
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


def inputs_of(model):
    """Batches for a model: the last of each has padding where the model takes any."""
    generator = torch.Generator().manual_seed(1)
    if isinstance(model, transformers.ViTModel):
        return [{"pixel_values": torch.randn(6, 3, 8, 8, generator=generator)} for _ in range(3)]
    tokens = [{"input_ids": torch.randint(3, 60, (6, 12), generator=generator)} for _ in range(3)]
    if isinstance(model, transformers.WhisperModel):
        sounds = torch.randn(3, 6, 8, 16, generator=generator)
        return [
            {"input_features": sound, "decoder_input_ids": batch["input_ids"]}
            for sound, batch in zip(sounds, tokens, strict=True)
        ]
    for batch in tokens:
        batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    tokens[-1]["attention_mask"][:3, 9:] = 0
    return tokens


def answers(model, batches):
    with torch.no_grad():
        return torch.cat([model(**batch)[0].flatten() for batch in batches])


@EVERY
def test_pruning_without_training_knows_the_same_planes(make, count, matrices):
    """All that `sparsify` masks is pruned from calibration data, and its weights repaired."""
    torch.manual_seed(0)
    model = make(transformers).eval()
    masked, batches = copy.deepcopy(model), inputs_of(model)
    wanted = answers(model, batches)
    report = mt.adaprune(model, batches, "2:4-T")
    full = {name.removesuffix(".weight") for name, each in model.named_parameters() if each.ndim > 1}
    assert full <= set(report.masks) | set(report.skipped)
    assert len(report.masks) == count
    assert all(report.skipped.values())
    for mask in report.masks.values():
        assert ms.verify(matrices(mask).contiguous(), "2:4-T").ok
    assert all(layer.error_after <= layer.error_before for layer in report.layers)
    mt.adaprune(masked, batches, "2:4-T", method="none", saliency="magnitude")
    errors = [float((answers(each, batches) - wanted).square().sum()) for each in (model, masked)]
    assert errors[0] < 0.8 * errors[1]
