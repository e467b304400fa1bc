"""What may move in networks of every topology, and that outputs stay what they were."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

from torch.utils import _pytree as pytree  # noqa: E402

import masksolve as ms  # noqa: E402
from masksolve.adapters import torch as mt  # noqa: E402


def _networks(name: str) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location(f"permuting_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Any] = module.NETWORKS
    return found


NETWORKS = _networks("nets") | _networks("joins")

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The tensor attributes"),  # of exporting recurrent layers
]

FREE: dict[str, set[tuple[int, str]]] = {
    # How many channels move, and on which axis of which weight they lie first.
    "resnet": {
        (16, "0.weight[0]"), (16, "4.conv1.weight[0]"), (32, "5.conv1.weight[0]"), (32, "5.conv2.weight[0]"),
        (32, "6.conv1.weight[0]"),
    },
    "mobilenet": {
        (16, "0.weight[0]"), (32, "3.body.0.weight[0]"), (8, "4.down.weight[0]"), (32, "5.body.0.weight[0]"),
        (32, "6.weight[0]"),
    },
    "forked": {(16, "first.weight[0]"), (16, "left.weight[0]"), (8, "right.weight[0]")},
    "gated": {(16, "up.weight[0]")},
    "treated-differently": {(16, "up.weight[0]")},
    "used-twice": {(16, "first.weight[0]")},
    "sibling": set(),
    "grouped": {(8, "first.weight[0]"), (8, "grouped.weight[0]")},
    "multiplied": {(8, "first.weight[0]")},
    "attending": {(8, "qkv.weight[0]")},
    "sequence": {(16, "first.weight[0]"), (16, "third.weight[0]")},
    "dense": {(8, "first.weight[0]"), (8, "second.weight[0]"), (8, "third.weight[0]")},
    "joined-with-itself": {(16, "first.weight[0]"), (8, "other.weight[0]")},
    "join-added": {(16, "left.weight[0]"), (8, "right.weight[0]")},
    "join-grouped": {(8, "left.weight[0]"), (8, "grouped.weight[0]")},
    "shuffled": {(8, "first.weight[0]"), (16, "second.weight[0]")},
    "bottleneck": {
        (32, "first.weight[0]"), (8, "down.weight[0]"), (16, "grouped.weight[0]"),
    },
    "siamese": {(16, "encoder.weight[0]"), (16, "join.weight[0]"), (24, "shared.weight[0]")},
    "held-branch": {(16, "second.weight[0]"), (16, "hidden.weight[0]")},
    "returned-too": {(16, "second.weight[0]")},
    "unet": {(16, "down.weight[0]"), (32, "bottom.weight[0]"), (16, "up.weight[0]")},
    "tied": {(16, "encode.weight[0]")},
    "multihead": {(16, "first.weight[0]"), (8, "attention.in_proj_weight[0]")},
    "heads": {(16, "first.weight[0]")},
    "broadcast": {(16, "offset[1]")},
    "recurrent": {(16, "hidden.weight[0]")},
    "positioned": {(16, "table[1]")},
    "sorted": set(),
}  # fmt: skip


def build(name: str) -> tuple[Any, Any]:
    torch.manual_seed(0)
    model, example = NETWORKS[name]()
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.ndim == 1 and tensor.is_floating_point() and len(tensor) != 16:
                tensor.uniform_(0.5, 2)  # norms that treat every channel differently
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model, example


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("pattern", ["2:4-T", "1:2", "2:4 axis=-2"])
def test_outputs_stay_and_more_is_kept(name: str, pattern: str) -> None:
    model, example = build(name)
    names = {id(each): key for key, each in model.named_parameters()}
    model.eval()
    with torch.no_grad():
        expected = model(example)
    report = mt.permute(model, example, pattern, dense_ends=False)
    scale = max(float(each.abs().max()) for each in pytree.tree_leaves(expected))
    with torch.no_grad():
        torch.testing.assert_close(model(example), expected, rtol=0, atol=1e-5 * scale)
    assert not report.refused, "the graph's analysis alone should get it right"
    assert report.objective >= report.before
    assert names == {id(each): key for key, each in model.named_parameters()}, (
        "parameters keep their identity"
    )
    if pattern == "2:4-T":
        found = {(each.channels, each.name.split(", ")[0]) for each in report.dimensions}
        assert found == FREE[name]
        assert (report.objective > report.before) == bool(FREE[name])


def test_report_agrees_with_the_weights() -> None:
    model, example = build("forked")
    report = mt.permute(model, example, "2:4-T", dense_ends=False)
    weights = [layer.weight.detach().abs().numpy() for layer in model.children()]
    kept = sum(ms.solve(each, "2:4-T").objective for each in weights)
    assert report.objective == pytest.approx(kept, rel=1e-6)
    assert report.total == pytest.approx(sum(float(each.sum()) for each in weights), rel=1e-6)
    assert "channels: first.weight[0]" in str(report)
    order = report.orders["first.weight", 0]
    assert sorted(order.tolist()) == list(range(16))


def test_what_is_held_is_named_with_its_operation() -> None:
    model, example = build("sorted")
    report = mt.permute(model, example, "2:4-T", dense_ends=False)
    held = {(each.parameter, each.axis): each.reason for each in report.held}
    assert held["first.weight", 0].startswith("cumsum")
    assert held["last.weight", 0] == "the model's output"
    model, example = build("recurrent")
    held = {
        (each.parameter, each.axis): each.reason
        for each in mt.permute(model, example, "2:4-T", dense_ends=False).held
    }
    assert held["first.weight", 0].startswith("gru")
    assert held["recurrent.weight_hh_l0", 1].startswith("gru")
    assert held["up.weight", 1].startswith("conv_transpose1d")
    assert ("hidden.weight", 0) not in held


def test_a_model_whose_outputs_change_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from masksolve.adapters.torch.permuting import values

    # Break the analysis: let cat forget which half its channels came from.
    monkeypatch.setattr(values, "counted", lambda atoms, value: value)
    model, example = build("treated-differently")
    saved = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    report = mt.permute(model, example, "2:4-T", dense_ends=False)
    assert report.refused
    assert not report.dimensions
    assert all(torch.equal(saved[key], tensor) for key, tensor in model.state_dict().items())


def test_an_exception_leaves_the_model_as_it_was() -> None:
    model, example = build("forked")
    saved = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    model.train()

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mt.permute(model, example, "2:4-T", dense_ends=False, progress=stop)
    assert model.training
    assert all(torch.equal(saved[key], tensor) for key, tensor in model.state_dict().items())


def test_scores_of_the_user_decide() -> None:
    model, example = build("gated")
    scores = {"up": torch.zeros(32, 8), "down": torch.ones(8, 16)}
    report = mt.permute(model, example, "2:4-T", dense_ends=False, scores=scores)
    assert report.total == 128
    assert report.objective == report.before == 64
    with pytest.raises(ValueError, match=r"scores\['up'\] must have the weight's shape"):
        mt.permute(model, example, "2:4-T", dense_ends=False, scores={"up": torch.ones(2, 2)})


def test_float64_is_held_to_its_own_tolerance() -> None:
    model, example = build("forked")
    report = mt.permute(model.double(), example.double(), "2:4-T", dense_ends=False)
    assert report.error < 1e-13
    assert report.dimensions


def test_the_same_seed_gives_the_same_model() -> None:
    orders = []
    for _ in range(2):
        model, example = build("resnet")
        orders.append(mt.permute(model, example, "2:4-T", dense_ends=False, seed=3).orders)
    assert orders[0].keys() == orders[1].keys()
    assert all(np.array_equal(orders[0][key], orders[1][key]) for key in orders[0])


@pytest.mark.parametrize("text", ["4:8 pair", "4:8-T pair", "2:4 x 4:8", "8:2:8"])
def test_patterns_without_a_search_are_refused_even_where_nothing_could_move(text: str) -> None:
    net = torch.nn.Linear(32, 32)
    with pytest.raises(ValueError, match=f"pattern must .* got '{text}'"):
        mt.permute(net, torch.ones(2, 32), text, dense_ends=False)
