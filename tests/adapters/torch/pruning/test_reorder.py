"""Channels reordered before pruning: the same model, with masks that keep more."""

import copy

import pytest

torch = pytest.importorskip("torch")
from pruning_models import assert_same, state  # noqa: E402
from torch import nn  # noqa: E402

import masksolve as ms  # noqa: E402
from masksolve.adapters import torch as mt  # noqa: E402

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]

X = torch.randn(300, 16, generator=torch.Generator().manual_seed(1)) @ torch.rand(
    16, 16, generator=torch.Generator().manual_seed(2)
)


def network():
    """Hidden channels of very different size, neighbours alike, which is what an order can help."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 16))
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight *= torch.linspace(0.02, 2, 32)[:, None] ** 2
    return model.eval()


def test_the_errors_fall_and_the_outputs_are_those_of_the_dense_model():
    wanted, errors = network()(X).detach(), {}
    for permute in (False, True):
        model = network()
        report = mt.adaprune(model, X, "2:4-T", permute=permute, dense_ends=False)
        for layer in report.layers:
            assert ms.verify(report.masks[layer.name].numpy(), "2:4-T").ok
        with torch.no_grad():
            errors[permute] = float((model(X) - wanted).square().sum())
        if permute:
            assert report.permuted.objective > report.permuted.before
            assert "channels reordered: retained" in str(report)
        else:
            assert report.permuted is None
    assert errors[True] < 0.9 * errors[False]


def test_the_parts_by_hand_give_the_same():
    """Reordering by squared Wanda scores first, then pruning."""
    whole, parts = network(), network()
    mt.adaprune(whole, X, "2:4-T", permute=True, dense_ends=False)
    scores, given = {}, X
    with torch.no_grad():
        for number, layer in enumerate(parts):
            if isinstance(layer, nn.Linear):
                scores[str(number)] = (layer.weight * given.norm(dim=0)) ** 2
            given = layer(given)
    mt.permute(parts, X[:100], "2:4-T", scores=scores, dense_ends=False)
    mt.adaprune(parts, X, "2:4-T", dense_ends=False)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_an_error_takes_the_order_back_too():
    model = network()
    before = state(model)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mt.adaprune(model, X, "2:4-T", permute=True, dense_ends=False, progress=stop)
    assert_same(model, before)


def test_a_resumed_run_is_permuted_alike(tmp_path):
    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    wanted, model = network(), network()
    options = {"permute": True, "dense_ends": False}
    mt.adaprune(wanted, X, "2:4-T", **options)
    with pytest.raises(KeyboardInterrupt):
        mt.adaprune(model, X, "2:4-T", checkpoint=tmp_path, progress=stop, **options)
    mt.adaprune(model, X, "2:4-T", checkpoint=tmp_path, **options)
    for one, other in zip(wanted.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_decoder_of_transformers():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=16,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    dense, tokens = copy.deepcopy(model), torch.randint(60, (8, 12))
    report = mt.adaprune(model, {"input_ids": tokens}, "2:4-T", permute=True, batch_size=4)
    assert report.permuted.dimensions
    assert model.config.use_cache
    assert len(report.masks) == 14
    assert all(ms.verify(mask.numpy(), "2:4-T").ok for mask in report.masks.values())
    with torch.no_grad():
        apart = (model(tokens).logits - dense(tokens).logits).norm() / dense(tokens).logits.norm()
    assert apart < 1


def test_wrong_arguments():
    with pytest.raises(TypeError, match="permute must be"):
        mt.adaprune(network(), X, "2:4", permute="rows")
    with pytest.raises(ValueError, match="permute=True needs batches that the model takes as they are"):
        mt.adaprune(network(), X, "2:4", permute=True, forward=lambda model, batch: model(batch))
