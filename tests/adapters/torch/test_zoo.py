"""Known architectures, made small: what is masked, in which plane, and that nothing is unreported.

transformers comes with the extra ``trainers-test``.
"""

import copy

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip(
    "transformers", reason="needs transformers: pip install 'masksolve[trainers-test]'"
)

from products import Contracted, most_in_a_group  # noqa: E402
from torch import nn  # noqa: E402

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


class Down(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.GroupNorm(4, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, groups=2)

    def forward(self, x):
        return self.second(self.norm(self.first(x)).relu()).relu()


class UNet(nn.Module):
    """Convolutions down and transposed ones up, joined across, with attention in the middle."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Conv2d(4, 16, 1)
        self.down = nn.ModuleList([Down(16, 16), Down(16, 32)])
        self.middle = nn.MultiheadAttention(32, 2, batch_first=True)
        self.up = nn.ModuleList(
            [nn.ConvTranspose2d(32, 16, 2, stride=2), nn.ConvTranspose2d(16, 32, 2, stride=2, groups=2)]
        )
        self.join = nn.ModuleList([Down(48, 16), Down(48, 16)])
        self.leave = nn.Conv2d(16, 4, 1)

    def forward(self, x):
        x, across = self.enter(x), []
        for down in self.down:
            across.append(down(x))
            x = nn.functional.max_pool2d(across[-1], 2)
        flat = x.flatten(2).mT
        x = (flat + self.middle(flat, flat, flat)[0]).mT.reshape(x.shape)
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([up(x), across.pop()], dim=1))
        return self.leave(x)


TOKENS = {"input_ids": torch.arange(64).reshape(4, 16)}
IMAGES = {"pixel_values": torch.linspace(-1, 1, 512).sin().reshape(2, 4, 8, 8)}
SOUNDS = {
    "input_features": torch.linspace(-1, 1, 480).sin().reshape(1, 8, 60),
    "decoder_input_ids": torch.arange(6)[None],
}
MODELS = {
    "Llama": (lambda t: t.LlamaForCausalLM(t.LlamaConfig(**TEXT)), 14, TOKENS),
    "Qwen": (lambda t: t.Qwen2ForCausalLM(t.Qwen2Config(**TEXT)), 14, TOKENS),
    "Mixtral": (lambda t: t.MixtralForCausalLM(t.MixtralConfig(**TEXT, **EXPERTS)), 12, TOKENS),
    "GptOss": (
        lambda t: t.GptOssForCausalLM(t.GptOssConfig(**TEXT, **EXPERTS, head_dim=8)),
        12,
        TOKENS,
    ),
    "GPT-2": (
        lambda t: t.GPT2LMHeadModel(
            t.GPT2Config(vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=16)
        ),
        8,
        TOKENS,
    ),
    "Qwen with experts": (
        lambda t: t.Qwen3MoeForCausalLM(
            t.Qwen3MoeConfig(
                **TEXT, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=8, head_dim=8
            )
        ),
        12,
        TOKENS,
    ),
    "PhiMoE": (lambda t: t.PhimoeForCausalLM(t.PhimoeConfig(**TEXT, **EXPERTS)), 12, TOKENS),
    "BERT": (lambda t: t.BertModel(t.BertConfig(**{**TEXT, "num_key_value_heads": None})), 12, TOKENS),
    "ViT": (
        lambda t: t.ViTModel(
            t.ViTConfig(
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=8,
                patch_size=4,
                num_channels=4,
            )
        ),
        12,
        IMAGES,
    ),
    "Whisper": (
        lambda t: t.WhisperModel(
            t.WhisperConfig(
                vocab_size=64,
                d_model=16,
                max_source_positions=30,
                max_target_positions=8,
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
        SOUNDS,
    ),
    "UNet": (lambda _: UNet(), 12, {"x": IMAGES["pixel_values"]}),
}
EVERY = pytest.mark.parametrize(("make", "count", "inputs"), MODELS.values(), ids=MODELS)


@EVERY
def test_blocks_are_masked_whole_and_the_rest_is_named(make, count, inputs):
    torch.manual_seed(0)
    model = make(transformers)
    full = {name for name, each in model.named_parameters(remove_duplicate=False) if each.ndim > 1}
    sparsifier = mt.sparsify(model, "2:4")
    report = {layer.name: layer for layer in sparsifier.report().layers}
    assert {name.removesuffix(".weight") for name in full} == set(report)
    assert len(sparsifier.masks) == count, [(name, layer.skipped) for name, layer in report.items()]
    assert {name for name, layer in report.items() if not layer.skipped} == set(sparsifier.masks)
    sparsifier.finalize()


@EVERY
@pytest.mark.parametrize("pattern", ["2:4", "2:4 axis=-2"])
def test_products_sum_over_groups_that_follow_the_pattern(make, count, inputs, pattern):
    """Forward products follow 2:4 along inputs; masks along outputs show that the check can fail."""
    torch.manual_seed(0)
    model = make(transformers).eval()
    names = dict(model.named_parameters())
    sparsifier = mt.sparsify(model, pattern, dense_ends=False)
    masked = {each if each in names else f"{each}.weight" for each in sparsifier.masks}
    sparsifier.finalize()
    with Contracted(model) as products:  # with gradients, since attention has an operator of its own without
        model(**inputs)
    assert masked <= set(products.seen)
    most = {name: max(most_in_a_group(each, 4) for each in products.seen[name]) for name in masked}
    if pattern == "2:4":
        assert set(most.values()) == {2}
    else:
        assert min(most.values()) > 2


def answers(model, batches):
    with torch.no_grad():
        return torch.cat([torch.as_tensor(model(**batch)[0]).flatten() for batch in batches])


@EVERY
def test_pruning_without_training_knows_the_same_planes(make, count, inputs):
    """All that `sparsify` masks is pruned from calibration data, and its weights repaired."""
    torch.manual_seed(0)
    model = make(transformers).eval()
    masked, batches = copy.deepcopy(model), [inputs]
    wanted = answers(model, batches)
    report = mt.adaprune(model, batches, "2:4-T")
    full = {name.removesuffix(".weight") for name, each in model.named_parameters() if each.ndim > 1}
    assert full <= set(report.masks) | set(report.skipped)
    assert len(report.masks) == count
    assert all(report.skipped.values())
    names = dict(model.named_parameters())
    pruned = {each if each in names else f"{each}.weight" for each in report.masks}
    with Contracted(model) as products:
        model(**inputs)
    assert pruned <= set(products.seen)
    assert {max(most_in_a_group(each, 4) for each in products.seen[name]) for name in pruned} == {2}
    assert all(layer.error_after <= layer.error_before for layer in report.layers)
    mt.adaprune(masked, batches, "2:4-T", method="none", saliency="magnitude")
    errors = [float((answers(each, batches) - wanted).square().sum()) for each in (model, masked)]
    assert errors[0] < 0.8 * errors[1]
