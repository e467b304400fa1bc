"""A pattern for each layer: by names and wildcards, as recipes have them and as `allocate` finds them."""

import pytest

torch = pytest.importorskip("torch")

import masksolve as ms  # noqa: E402
from masksolve.adapters import torch as mt  # noqa: E402


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 32), torch.nn.Linear(32, 16)
    )


def kept(layer):
    return (layer.weight != 0).detach().numpy()


def test_the_first_name_that_fits_counts():
    choices = mt.choose_weights(model(), {"2": "4:8-T", "3": "dense", "*": "2:4"}, dense_ends=False)
    found = {choice.name: str(choice.pattern or choice.skipped) for choice in choices}
    assert found == {"0": "2:4", "2": "4:8-T", "3": "is 'dense' in pattern="}
    (left,) = (each for each in mt.choose_weights(model(), {"[02]": "2:4"}, dense_ends=False) if each.skipped)
    assert (left.name, left.skipped) == ("3", "has no pattern in pattern=")


@pytest.mark.parametrize("text", ["2:4", "4:8-T"])
def test_one_pattern_is_the_pattern_of_all(text):
    for choice in mt.choose_weights(model(), text, dense_ends=False):
        assert choice.pattern == ms.Pattern(text)


def test_training_with_a_pattern_for_each_layer():
    net = model()
    patterns = {"0.weight": "2:4", "2": "4:8-T", "3": "8:2:8"}
    sparsifier = mt.sparsify(net, patterns, refresh_every=1, dense_ends=False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        net(torch.ones(4, 16)).square().sum().backward()
        optimizer.step()
        sparsifier.step()
    assert "{'0.weight': '2:4', '2': '4:8-T', '3': '8:2:8'}" in str(sparsifier.report())
    assert [record.pattern for record in sparsifier.records[:3]] == ["2:4", "4:8-T", "8:2:8"]
    assert sparsifier.totals[0].pattern == "2:4, 4:8-T, 8:2:8"
    state = sparsifier.state_dict()
    sparsifier.load_state_dict(state)
    net = sparsifier.finalize()
    for layer, text in ((net[0], "2:4"), (net[2], "4:8-T"), (net[3], "8:2:8")):
        assert ms.verify(kept(layer), text).ok
    other = mt.sparsify(model(), "2:4", dense_ends=False)
    with pytest.raises(ValueError, match="state must be of pattern 2:4"):
        other.load_state_dict(state)


def test_gradual_pruning_ends_at_each_layers_own_pattern():
    net = model()
    ramp = mt.CubicRamp(0.25, 2)
    sparsifier = mt.sparsify(net, {"2": "2:8", "*": "4:8"}, refresh_every=1, density=ramp, dense_ends=False)
    for _ in range(3):
        sparsifier.step()
    net = sparsifier.finalize()
    assert ms.verify(kept(net[2]), "2:8").ok
    assert ms.verify(kept(net[0]), "4:8").ok


@pytest.mark.parametrize("method", ["least_squares", "admm"])
def test_pruning_once_with_a_pattern_for_each_layer(method):
    net = model()
    patterns = {"0": "2:4", "2": "4:8-T", "3": "dense"}
    report = mt.adaprune(net, torch.randn(64, 16), patterns, method=method, dense_ends=False)
    assert [layer.name for layer in report.layers] == ["0", "2"]
    assert ms.verify(kept(net[0]), "2:4").ok
    assert ms.verify(kept(net[2]), "4:8-T").ok
    assert kept(net[3]).all()
    assert str(patterns) in report.title


def test_what_allocate_finds_is_taken_as_it_is():
    net = model()
    weights = {f"{name}.weight": net[int(name)].weight.detach().numpy() for name in "023"}
    allocation = ms.allocate(weights, "2:8", sparsity=0.5, score="magnitude")
    mt.sparsify(net, allocation.patterns, dense_ends=False).finalize()
    for name, pattern in allocation.patterns.items():
        assert ms.verify(kept(net[int(name[0])]), pattern).ok


def test_wrong_patterns_by_name():
    with pytest.raises(ValueError, match="pattern: 'nowhere' matches no weight"):
        mt.sparsify(model(), {"nowhere": "2:4"})
    with pytest.raises(ValueError, match="pattern must name a layer to prune"):
        mt.sparsify(model(), {"*": "dense"})
    with pytest.raises(TypeError, match="patterns by names of layers, got 3"):
        mt.sparsify(model(), {3: "2:4"})
    with pytest.raises(ValueError, match="pattern must look like"):
        mt.sparsify(model(), {"*": "2 of 4"})
    with pytest.raises(ValueError, match="searches orders for one pattern"):
        mt.adaprune(model(), torch.randn(64, 16), {"*": "2:4"}, permute=True)


def test_converting_to_a_pattern_for_each_layer():
    net = model()
    mt.sparsify(net, "4:8", dense_ends=False).finalize()
    patterns = {"0": "2:4", "2": "2:8", "3": "dense"}
    old = kept(net[3])
    report = mt.convert(net, "4:8", patterns)
    assert [layer.name for layer in report.layers] == ["0", "2"]
    assert ms.verify(kept(net[0]), "2:4 at_most").ok  # what fills a group was zero and stays it
    assert ms.verify(kept(net[2]), "2:8 at_most").ok
    assert (kept(net[3]) == old).all()
    assert str(patterns) in report.title
    with pytest.raises(ValueError, match="pattern must be one pattern, as from_pattern"):
        mt.convert(net, patterns, "2:4")


def test_converting_to_what_allocate_finds():
    net = model()
    mt.sparsify(net, "4:8", dense_ends=False).finalize()
    weights = {f"{name}.weight": net[int(name)].weight.detach().numpy() for name in "023"}
    patterns = ms.allocate(weights, "4:8", sparsity=0.6, score="magnitude").patterns
    mt.convert(net, "4:8", patterns)
    for name, pattern in patterns.items():
        assert ms.verify(kept(net[int(name[0])]), f"{pattern} at_most").ok


def test_orders_are_searched_for_one_pattern():
    with pytest.raises(ValueError, match="pattern must be one pattern, since an order"):
        mt.permute(model(), torch.ones(2, 16), {"*": "2:4"})


def test_callbacks_take_a_pattern_for_each_layer():
    from masksolve.adapters.torch.integrations.callback import Callback

    net = model()
    callback = Callback({"2": "4:8-T", "*": "2:4"}, dense_ends=False)
    callback._begin(net)
    callback._end()
    assert ms.verify(kept(net[0]), "2:4").ok
    assert ms.verify(kept(net[2]), "4:8-T").ok
    with pytest.raises(ValueError, match="pattern must look like"):
        Callback({"*": "2 of 4"})
