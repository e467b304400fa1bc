"""LoRA beside sparse layers: adapters stay dense, and merging them keeps the pattern.

PEFT comes with the extra ``trainers-test``.
"""

import copy

import pytest

import masksolve as ms

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft", reason="needs peft: pip install 'masksolve[trainers-test]'")

from torch import nn  # noqa: E402

from masksolve.adapters import torch as mt  # noqa: E402
from masksolve.adapters.torch.integrations.peft import keep_pattern  # noqa: E402

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]

TARGETS = ["0", "2"]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))


def adapted(model, **options):
    # A list would name every module whose path ends so, the masks in ``0.parametrizations.weight.0`` as well.
    model = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules="[02]", **options))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.1)
    return model


def lora_products(model):
    return {
        name: model.base_model.model[int(name)].get_delta_weight("default").detach().clone()
        for name in TARGETS
    }


def assert_merged(model, dense, products):
    """The merged weight is that of the mask on the sum, to the last bit."""
    for name in TARGETS:
        weight, mask = model[int(name)].weight.detach(), dense[name][1]
        assert torch.equal(weight, torch.where(mask, dense[name][0] + products[name], 0))
        assert ms.verify((weight != 0).numpy(), "2:4-T").ok


def test_adapters_are_left_dense():
    model = adapted(network())
    choices = mt.choose_weights(model, "2:4-T", dense_ends=False)
    masked = [choice.name.rsplit(".model.")[-1] for choice in choices if not choice.skipped]
    assert masked == ["0.base_layer", "2.base_layer"]
    reasons = {choice.skipped for choice in choices if "lora" in choice.name}
    assert reasons == {"is an adapter, which is added to a weight and not one of its own"}
    wild = mt.choose_weights(model, "2:4", layers=["*"])
    assert all(choice.skipped for choice in wild if "lora" in choice.name)


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("finalized", [False, True])
def test_merging_keeps_the_pattern(safe, finalized):
    model = adapted(network())
    sparsifier = mt.sparsify(model, "2:4-T", dense_ends=False)
    dense = {
        name: (weight.detach().clone(), sparsifier.masks[key].clone())
        for name, (key, weight) in zip(TARGETS, sparsifier.dense_weights.items(), strict=True)
    }
    products = lora_products(model)
    if finalized:
        sparsifier.finalize()
    merged = copy.deepcopy(model) if finalized else model
    plain = merged.merge_and_unload(safe_merge=safe)
    if not finalized:
        sparsifier.finalize()
    assert_merged(plain, dense, products)


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("finalized", [False, True])
def test_adapters_that_come_after_the_masks_are_merged(safe, finalized):
    """PEFT assigns to ``weight.data``, and the weight under a mask is computed anew each time."""
    sparse = network()
    sparsifier = mt.sparsify(sparse, "2:4-T", dense_ends=False)
    dense = {
        name: (sparsifier.dense_weights[name].detach().clone(), sparsifier.masks[name].clone())
        for name in TARGETS
    }
    model = adapted(sparse)
    products = lora_products(model)
    if finalized:
        sparsifier.finalize()
    plain = model.merge_and_unload(safe_merge=safe)
    if not finalized:
        sparsifier.finalize()
    assert_merged(plain, dense, products)


def test_nothing_of_a_finished_training_is_left_in_torch():
    from torch.nn.modules.module import _global_module_registration_hooks

    before = len(_global_module_registration_hooks)
    sparsifier = mt.sparsify(network(), "2:4-T", dense_ends=False)
    assert len(_global_module_registration_hooks) == before + 1
    sparsifier.finalize()
    assert len(_global_module_registration_hooks) == before


def test_unmerging_gives_the_sparse_weight_back():
    model = adapted(mt.sparsify(network(), "2:4-T", dense_ends=False).finalize())
    before = {name: model.base_model.model[int(name)].base_layer.weight.detach().clone() for name in TARGETS}
    assert keep_pattern(model, "2:4-T") == ["base_model.model.0", "base_model.model.2"]
    model.merge_adapter()
    assert ms.verify((model.base_model.model[0].base_layer.weight != 0), "2:4-T").ok
    model.unmerge_adapter()
    for name, weight in before.items():
        torch.testing.assert_close(model.base_model.model[int(name)].base_layer.weight, weight)


def test_a_model_that_is_sparse_before_it_is_adapted():
    sparse = mt.sparsify(network(), "2:4-T", dense_ends=False).finalize()
    dense = {
        name: (sparse[int(name)].weight.detach().clone(), sparse[int(name)].weight != 0) for name in TARGETS
    }
    model = adapted(sparse)
    keep_pattern(model, "2:4-T")
    products = lora_products(model)
    assert_merged(model.merge_and_unload(), dense, products)
    with pytest.raises(ValueError, match="adapters on layers that follow '2:4 at_most', but none does"):
        keep_pattern(adapted(network()), "2:4")
