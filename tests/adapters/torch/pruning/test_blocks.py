"""Models pruned block by block: the same as layer by layer, without running earlier blocks again."""

from collections import Counter

import pytest

torch = pytest.importorskip("torch")
import small_models  # noqa: E402, F401
from torch import nn  # noqa: E402

import masksolve as ms  # noqa: E402
from masksolve.adapters import torch as mt  # noqa: E402
from masksolve.adapters.torch.blocks import find_chains  # noqa: E402


class Block(nn.Module):
    """A decoder block as Hugging Face calls it: the mask by keyword, a tuple as the answer."""

    def __init__(self, width):
        super().__init__()
        self.query, self.key, self.value, self.mix = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, hidden, *, attention_mask=None, past_key_values=None, scale=1.0):
        if past_key_values is not None:
            past_key_values.append(hidden)
        seen = nn.functional.scaled_dot_product_attention(
            self.query(hidden), self.key(hidden), self.value(hidden), attn_mask=attention_mask
        )
        hidden = hidden + self.mix(seen) * scale
        return hidden + self.down(self.up(self.norm(hidden)).relu()), seen


class Config:
    use_cache = True


class Decoder(nn.Module):
    def __init__(self, depth=3, width=8, words=20, tied=True):
        super().__init__()
        torch.manual_seed(0)
        self.config = Config()
        self.word = nn.Embedding(words, width)
        self.layers = nn.ModuleList(Block(width) for _ in range(depth))
        self.head = nn.Linear(width, words, bias=False)
        if tied:
            self.head.weight = self.word.weight

    def forward(self, input_ids, attention_mask=None):
        hidden = self.word(input_ids)
        mask = None if attention_mask is None else (attention_mask != 0)[:, None, :]
        cache = [] if self.config.use_cache else None
        for layer in self.layers:
            hidden = layer(hidden, attention_mask=mask, past_key_values=cache)[0]
        return self.head(hidden)


TOKENS = torch.randint(20, (6, 10), generator=torch.Generator().manual_seed(1))
BATCHES = [{"input_ids": each} for each in TOKENS.split(2)]


def same(one, other, **tolerance):
    for left, right in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(left, right, **tolerance)


@pytest.mark.parametrize("method", ["admm", "least_squares"])
def test_blocks_give_what_whole_passes_give(method):
    walked, whole = Decoder(), Decoder()
    report = mt.adaprune(walked, BATCHES, "2:4-T", method=method, dtype="float64")
    other = mt.adaprune(whole, BATCHES, "2:4-T", method=method, dtype="float64", blocks=False)
    assert [layer.name for layer in report.layers][:7] == [
        *(f"layers.0.{name}" for name in ("query", "key", "value", "mix", "up", "down")),
        "layers.1.query",
    ]
    assert set(report.masks) == set(other.masks)
    same(walked, whole, rtol=1e-5, atol=1e-6)


def test_no_block_runs_again_once_it_is_done():
    model, calls = Decoder(depth=4), Counter()
    for number, block in enumerate(model.layers):
        block.register_forward_pre_hook(lambda _block, _args, number=number: calls.update([number]))
    mt.adaprune(model, BATCHES, "2:4-T")
    # One pass at first; then, for three batches, one run each for query (which key and value share),
    # mix, up and down, and one for what the next block is given, which the last block need not give.
    runs = len(BATCHES) * (1 + 4)
    assert [calls[number] for number in range(4)] == [runs + len(BATCHES)] * 3 + [runs]


def test_deeper_models_cost_no_more_for_each_block():
    totals = []
    for depth in (2, 4, 8):
        model, calls = Decoder(depth=depth), Counter()
        for block in model.layers:
            block.register_forward_pre_hook(lambda _block, _args, calls=calls: calls.update(["run"]))
        mt.adaprune(model, BATCHES, "2:4", method="none")
        totals.append((calls["run"] + len(BATCHES)) / depth)
    assert totals[0] == totals[1] == totals[2]


def test_embeddings_heads_and_tied_weights_stay_and_are_named():
    model = Decoder()
    before = model.word.weight.clone()
    report = mt.adaprune(model, BATCHES, "2:4-T")
    assert torch.equal(model.word.weight, before)
    assert report.skipped.keys() == {"word", "head"}
    assert report.skipped["word"] == "shares its weight with 'head.weight'"
    assert report.skipped["head"] == "shares its weight with 'word.weight'"
    loose = Decoder(tied=False)
    report = mt.adaprune(loose, BATCHES, "2:4-T")
    assert report.skipped["word"] == "is an embedding, which is looked up and not multiplied"
    assert "before or after the model's blocks" in report.skipped["head"]
    assert "stays as it was: it is an embedding" in str(report)


def test_ends_of_a_model_of_blocks_are_not_its_first_attention_projection():
    model = Decoder(tied=False)
    report = mt.adaprune(model, BATCHES, "2:4-T")
    assert {"layers.0.query", "layers.0.key", "layers.2.down"} <= report.masks.keys()
    everything = mt.adaprune(Decoder(tied=False), BATCHES, "2:4-T", dense_ends=False)
    assert set(everything.masks) == {*report.masks, "head"}
    assert everything.layers[-1].name == "head"


def test_the_cache_of_a_language_model_is_off_meanwhile():
    model = Decoder()
    mt.adaprune(model, BATCHES, "2:4-T")
    assert model.config.use_cache is True


def padded():
    """The same sentences with padding of random words at their ends."""
    lengths = torch.tensor([10, 7, 4, 10, 5, 8])
    mask = (torch.arange(10) < lengths[:, None]).long()
    noise = torch.randint(20, TOKENS.shape, generator=torch.Generator().manual_seed(2))
    return mask, TOKENS.where(mask == 1, noise), TOKENS.where(mask == 1, 0)


@pytest.mark.parametrize("blocks", [True, False])
def test_padding_counts_in_no_statistics(blocks):
    """Whatever stands in the padding, the pruned model is the same."""
    mask, noise, zeros = padded()
    models = [Decoder(), Decoder(), Decoder()]
    for model, tokens in zip(models, (noise, zeros, zeros), strict=True):
        data = {"input_ids": tokens, "attention_mask": mask}
        if model is models[2]:
            data = [{"input_ids": tokens[i : i + 1, : mask[i].sum()]} for i in range(6)]
        mt.adaprune(model, data, "2:4-T", dtype="float64", blocks=blocks, batch_size=2, layers=["layers.*"])
    same(models[0], models[1])
    same(models[0], models[2], rtol=1e-4, atol=1e-5)


class Skipping(Decoder):
    """The last block is not given what the one before it gave."""

    def forward(self, input_ids):
        hidden = first = self.word(input_ids)
        for layer in self.layers:
            before, hidden = hidden, layer(hidden)[0]
            first = before
        return self.head(hidden + self.layers[-1](first * 2)[0])


class InPlace(Decoder):
    def forward(self, input_ids):
        hidden = self.word(input_ids)
        for layer in self.layers:
            hidden = layer(hidden)[0] + 0
        return self.head(hidden)


@pytest.mark.parametrize("kind", [Skipping, InPlace])
def test_what_is_no_chain_is_pruned_layer_by_layer(kind):
    model, other = kind(), kind()
    report = mt.adaprune(model, BATCHES, "2:4-T", dtype="float64")
    mt.adaprune(other, BATCHES, "2:4-T", dtype="float64", blocks=False, layers=["layers.*"])
    assert all(ms.verify(mask.numpy(), "2:4-T").ok for mask in report.masks.values())
    same(model, other, rtol=1e-6, atol=1e-7)
    before = [tensor.clone() for tensor in kind().parameters()]
    named = kind()
    with pytest.raises(ValueError, match="blocks: 'layers' is no chain of blocks: a block"):
        mt.adaprune(named, BATCHES, "2:4-T", blocks="layers")
    assert all(torch.equal(one, two) for one, two in zip(named.parameters(), before, strict=True))


class TwoStages(nn.Module):
    """Two chains with a layer between them, as in a vision network."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(2)))
        self.between = nn.Linear(8, 16)
        self.second = nn.ModuleList(nn.Sequential(nn.Linear(16, 16), nn.Tanh()) for _ in range(3))

    def forward(self, x):
        x = self.between(self.first(x))
        for block in self.second:
            x = block(x)
        return x


def test_several_chains_and_layers_between_them():
    x = torch.randn(40, 8, generator=torch.Generator().manual_seed(3))
    model, other = TwoStages(), TwoStages()
    assert [chain.name for chain in find_chains(model)] == ["first", "second"]
    options = {"dtype": "float64", "dense_ends": False}
    report = mt.adaprune(model, x, "2:4-T", **options)
    mt.adaprune(other, x, "2:4-T", blocks=False, **options)
    assert [layer.name for layer in report.layers][2] == "between"
    assert len(report.layers) == 6
    same(model, other, rtol=1e-5, atol=1e-6)
    ends = mt.adaprune(TwoStages(), x, "2:4-T")
    assert ends.skipped == {}, "what lies between two chains is no end"


def test_which_lists_are_chains():
    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.experts = nn.ModuleList(nn.Sequential(nn.Linear(4, 4)) for _ in range(2))

    shared = nn.Sequential(nn.Linear(4, 4))
    model = nn.ModuleDict(
        {
            "norms": nn.ModuleList(nn.LayerNorm(4) for _ in range(3)),
            "linears": nn.ModuleList(nn.Linear(4, 4) for _ in range(3)),
            "mixed": nn.Sequential(nn.Sequential(nn.Linear(4, 4)), Experts()),
            "single": nn.ModuleList([Experts()]),
            "repeated": nn.ModuleList([shared, shared]),
            "blocks": nn.ModuleList(Experts() for _ in range(2)),
        }
    )
    found = {chain.name: chain.names for chain in find_chains(model)}
    # Experts are blocks to the eye; that they do not run one after another shows when they run.
    assert found.pop("mixed.1.experts") == ("mixed.1.experts.0", "mixed.1.experts.1")
    assert found.pop("single.0.experts")
    assert found == {"blocks": ("blocks.0", "blocks.1")}
    assert [chain.name for chain in find_chains(model, "blocks")] == ["blocks"]
    assert find_chains(model, False) == []
    with pytest.raises(ValueError, match=r"blocks must be True, False or names .* got 'norm'"):
        find_chains(model, "norm")


def test_resuming_between_blocks_gives_the_same_weights(tmp_path):
    wanted, model = Decoder(), Decoder()
    full = mt.adaprune(wanted, BATCHES, "2:4-T")

    def stop(done, total):
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mt.adaprune(model, BATCHES, "2:4-T", checkpoint=tmp_path, progress=stop)
    same(model, Decoder())
    written = {file.name: file.stat().st_mtime_ns for file in tmp_path.glob("*.pt")}
    assert len(written) == 8
    resumed = mt.adaprune(model, BATCHES, "2:4-T", checkpoint=tmp_path)
    same(model, wanted)
    assert [layer.name for layer in resumed.layers] == [layer.name for layer in full.layers]
    after = {file.name: file.stat().st_mtime_ns for file in tmp_path.glob("*.pt")}
    assert after.keys() > written.keys()
    assert all(after[name] == written[name] for name in written), "no file is written twice"
