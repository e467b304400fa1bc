"""Sparsified models go on working as torch models: copies, checkpoints, precision, compilation, the end."""

import copy
import io
import pickle

import pytest

import masksolve as ms

torch = pytest.importorskip("torch")

from small_models import batch, convolutional, loss_of, perceptron, train  # noqa: E402
from torch.optim.swa_utils import AveragedModel  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from masksolve.adapters import torch as mt  # noqa: E402


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-2)


def saved(thing):
    """What ``torch.load(weights_only=True)`` gives back of a saved state."""
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def assert_equal(left, right):
    """Nested states are equal bit for bit, times apart."""
    assert type(left) is type(right)
    if isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_equal(left[key], right[key])
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right)
        for pair in zip(left, right, strict=True):
            assert_equal(*pair)
    else:
        assert left == right


def state_of(model, optimizer, sparsifier):
    state = sparsifier.state_dict()
    state["records"] = [record[:-1] for record in state["records"]]
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "sparsifier": state}


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda pair: pickle.loads(pickle.dumps(pair)),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("make", [perceptron, convolutional])
def test_copies_are_independent(make, how):
    model = make()
    optimizer = adam(model)
    sparsifier = mt.sparsify(model, "4:8-T", refresh_every=2, decay=1e-3)
    train(model, optimizer, sparsifier, 3)
    twin, its_sparsifier, its_optimizer = COPIES[how]((model, sparsifier, optimizer))
    assert its_sparsifier.model is twin
    weights = [id(each) for each in twin.parameters()]
    assert {id(each) for group in its_optimizer.param_groups for each in group["params"]} == set(weights)
    assert not set(weights) & {id(each) for each in model.parameters()}
    state = state_of(twin, its_optimizer, its_sparsifier)
    assert_equal(state, state_of(model, optimizer, sparsifier))
    frozen = copy.deepcopy(state)
    expected = train(model, optimizer, sparsifier, 3, first=3)
    final = copy.deepcopy(state_of(model, optimizer, sparsifier))
    sparsifier.finalize()
    assert_equal(state_of(twin, its_optimizer, its_sparsifier), frozen)
    assert train(twin, its_optimizer, its_sparsifier, 3, first=3) == expected
    assert_equal(state_of(twin, its_optimizer, its_sparsifier), final)
    its_sparsifier.finalize()
    assert_equal(dict(twin.state_dict()), dict(model.state_dict()))


def test_a_whole_model_can_be_saved_by_torch():
    model = convolutional()
    mt.sparsify(model, "2:4-T", refresh_every=2)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    model.eval(), loaded.eval()
    assert torch.equal(loaded(batch(model, 0)), model(batch(model, 0)))
    mt.finalize(loaded)
    assert torch.equal(loaded(batch(model, 0)), model(batch(model, 0)))


def test_a_moving_average_of_the_weights_is_finalized_by_itself():
    model = perceptron()
    sparsifier = mt.sparsify(model, "2:4-T", refresh_every=1)
    average = AveragedModel(model)
    for step in range(3):
        train(model, torch.optim.SGD(model.parameters(), lr=0.1), sparsifier, 1, first=step)
        average.update_parameters(model)
    dense = average.module[2].parametrizations.weight.original.detach().clone()
    mt.finalize(average)
    assert ms.verify(average.module[2].weight.detach() != 0, "2:4-T").ok
    assert torch.equal(average.module[2].weight, dense * sparsifier.masks["2"])
    with pytest.raises(ValueError, match="no layer has one"):
        mt.finalize(average)


@pytest.mark.parametrize("make", [perceptron, convolutional])
@pytest.mark.parametrize("refresh_every", [None, 1])
def test_finalize_leaves_a_plain_dense_model(make, refresh_every):
    model, untouched = make(), make()
    optimizer = adam(model)
    before = {name: id(parameter) for name, parameter in model.named_parameters()}
    sparsifier = mt.sparsify(model, "2:4-T", refresh_every=refresh_every)
    train(model, optimizer, sparsifier, 3)
    model.eval()
    expected = model(batch(model, 0))
    masks = {name: mask.clone() for name, mask in sparsifier.masks.items()}
    assert sparsifier.finalize() is model
    assert torch.equal(model(batch(model, 0)), expected)
    assert list(model.state_dict()) == list(untouched.state_dict())
    assert {name: id(parameter) for name, parameter in model.named_parameters()} == before
    for ours, theirs in zip(model.modules(), untouched.modules(), strict=True):
        assert type(ours) is type(theirs)
        assert vars(ours).keys() == vars(theirs).keys()
        assert not ours._forward_hooks
        assert not ours._forward_pre_hooks
    for name, mask in masks.items():
        assert torch.count_nonzero(model.get_submodule(name).weight[~mask]) == 0
    untouched.load_state_dict(model.state_dict())
    assert torch.equal(untouched.eval()(batch(model, 0)), expected)
    moved = model.get_submodule(next(iter(masks))).weight.detach().clone()
    train(model.train(), optimizer, None, 1)
    assert not torch.equal(model.get_submodule(next(iter(masks))).weight, moved)


def test_remove_gives_the_dense_weights_back():
    model, untouched = perceptron(), perceptron()
    mt.sparsify(model, "2:4-T").remove()
    assert_equal(dict(model.state_dict()), dict(untouched.state_dict()))


@pytest.mark.parametrize(
    ("pattern", "dtype", "options"),
    [
        ("4:8-T", "float32", {"refresh_every": 2, "decay": 1e-3}),
        ("4:8-T", "bfloat16", {"refresh_every": 2}),
        ("2:4-T", "float32", {"refresh_every": 3, "density": mt.CubicRamp(0.5, 8)}),
        ("2:4", "float32", {}),
        ("8:16-T", "float32", {"refresh_every": 1, "density": mt.CubicRamp(0.5, 4)}),
    ],
)
def test_a_run_resumes_bit_for_bit(pattern, dtype, options):
    def fresh(seed):
        model = perceptron(seed=seed).to(getattr(torch, dtype))
        optimizer = adam(model)
        return model, optimizer, mt.sparsify(model, pattern, **options)

    def go(run, steps, first):
        model, optimizer, sparsifier = run
        for step in range(first, first + steps):
            optimizer.zero_grad()
            loss_of(model, batch(model, step).to(getattr(torch, dtype))).backward()
            optimizer.step()
            sparsifier.step()

    whole = fresh(seed=0)
    go(whole, 5, 0)
    # bfloat16 weights tie, so the masks to come depend on the prices that solves start from.
    states = saved([each.state_dict() for each in whole])
    go(whole, 5, 5)
    resumed = fresh(seed=1)
    for part, state in zip(resumed, states, strict=True):
        part.load_state_dict(state)
    assert resumed[2].steps == 5
    go(resumed, 5, 5)
    assert_equal(state_of(*resumed), state_of(*whole))


def test_a_frozen_run_resumes_frozen():
    model = perceptron()
    sparsifier = mt.sparsify(model, "2:4", refresh_every=1)
    sparsifier.freeze()
    state = saved(sparsifier.state_dict())
    other = mt.sparsify(perceptron(seed=1), "2:4", refresh_every=1)
    other.load_state_dict(state)
    assert not other.step()
    assert len(other.totals) == 1


@pytest.mark.parametrize("refresh_every", [None, 1])
def test_autocast_and_bfloat16_parameters(refresh_every):
    model = convolutional()
    optimizer = adam(model)
    sparsifier = mt.sparsify(
        model, "2:4-T", refresh_every=refresh_every, decay=1e-3 if refresh_every else 0.0
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = model(batch(model, 0))
    assert outputs.dtype == torch.bfloat16
    outputs.float().square().mean().backward()
    optimizer.step()
    sparsifier.step()
    assert {weight.dtype for weight in sparsifier.dense_weights.values()} == {torch.float32}
    model.to(torch.bfloat16)
    outputs = model(batch(model, 1).bfloat16())
    outputs.square().mean().backward()
    sparsifier.refresh()
    for name, mask in sparsifier.masks.items():
        weight = sparsifier.dense_weights[name]
        assert (mask.dtype, weight.grad.dtype) == (torch.bool, torch.bfloat16)
        for place in mask.flatten(2).movedim(-1, 0) if mask.ndim > 2 else [mask]:
            assert ms.verify(place, "2:4-T").ok


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("options", [{}, {"refresh_every": 1, "decay": 0.1}])
def test_gradient_checkpointing_gives_the_same_gradients(reentrant, options):
    gradients = []
    for recompute in (False, True):
        model = perceptron()
        sparsifier = mt.sparsify(model, "4:8-T", **options)
        inputs = batch(model, 0).requires_grad_()
        outputs = checkpoint(model, inputs, use_reentrant=reentrant) if recompute else model(inputs)
        outputs.square().mean().backward()
        gradients.append([inputs.grad, *(weight.grad for weight in sparsifier.dense_weights.values())])
    assert_equal(*gradients)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own doing
def test_torch_compile_takes_the_whole_model():
    """Slow, about 15 s the first time: one graph, which new masks do not compile again."""
    model, eager = perceptron(), perceptron()
    sparsifiers = [mt.sparsify(each, "2:4-T", refresh_every=1, decay=0.1) for each in (model, eager)]
    optimizers = [torch.optim.SGD(each.parameters(), lr=1.0) for each in (model, eager)]
    compiled = torch.compile(model, fullgraph=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in range(3):
            for each, optimizer, sparsifier in zip((compiled, eager), optimizers, sparsifiers, strict=True):
                each.zero_grad()
                loss_of(each, batch(eager, step)).backward()
                optimizer.step()
                sparsifier.step()
            for ours, theirs in zip(model.parameters(), eager.parameters(), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert sum(record.flipped for record in sparsifiers[0].records[1:]) > 0


def test_a_trained_model_stays_pruned_through_the_optimizer():
    model = convolutional()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
    train(model, optimizer, None, 3)
    sparsifier = mt.prune_trained_model(model, optimizer, pattern="2:4", skip=["7"])
    masks = {name: mask.clone() for name, mask in sparsifier.masks.items()}
    for step in range(3):
        train(model, optimizer, None, 1, first=step)
        for name, mask in masks.items():
            weight = sparsifier.dense_weights[name]
            assert torch.count_nonzero(weight[~mask]) == 0
            assert torch.count_nonzero(weight.grad[~mask]) == 0
            assert torch.count_nonzero(weight[mask]) == mask.sum()
            assert torch.equal(sparsifier.masks[name], mask)
    sparsifier.finalize()
    assert not optimizer._optimizer_step_post_hooks
    optimizer.step()
    assert any(torch.count_nonzero(model.get_submodule(name).weight[~mask]) for name, mask in masks.items())


def test_two_sparsifiers_share_a_model():
    model = perceptron()
    first = mt.sparsify(model, "2:4", layers=["2"])
    second = mt.sparsify(model, "4:8-T", layers=["0", "4"], refresh_every=1)
    optimizer = adam(model)
    train(model, optimizer, second, 2)
    first.finalize()
    assert ms.verify(model[2].weight != 0, "2:4").ok
    second.finalize()
    assert all(ms.verify(model[place].weight != 0, "4:8-T").ok for place in (0, 4))
