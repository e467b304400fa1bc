"""The scaled-down Table A.4: masks that hold at every step, runs that can be resumed."""

import itertools
import json
import sys

import numpy as np
import pytest
from places import ROOT

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

sys.path.append(str(ROOT))  # behind the installed masksolve

from torch.nn.utils import parametrize  # noqa: E402

import masksolve as ms  # noqa: E402
from examples.table_a4 import __main__ as command  # noqa: E402
from examples.table_a4 import data as images  # noqa: E402
from examples.table_a4.masks import Masks, follows, is_pattern  # noqa: E402
from examples.table_a4.runs import (  # noqa: E402
    DENSE,
    RULES,
    Run,
    Setting,
    network,
    perform_all,
    plan,
    plan_backward,
    read,
)
from examples.table_a4.training import Regime, Trainer, accuracy  # noqa: E402

TINY = Regime(images=64, steps=6, batch=8, refresh=2)
SORTS = sorted({run[:2] for run in plan([0]) if run.rule != DENSE})


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data():
    return images.load("shipped")


def trainer_of(data, sort, regime=TINY, *, seed=3, dynamic=True):
    model = network(regime, seed)
    masks = Masks(model, *sort, regime.refresh if dynamic else None) if sort else None
    return Trainer(model, data.train, regime, seed, masks)


def matrices(weight):
    return weight.detach().permute(*range(2, weight.ndim), 0, 1).numpy()


def check_by_counting(kept, rule, solver):
    """The rules spelled out again, on matrices (..., outputs, inputs)."""
    if rule == "unstructured":
        assert kept.sum() == kept.size / 2
        return
    n, m = map(int, rule.split()[0].removesuffix("-T").split(":"))
    lines = [kept.reshape(-1, m)]
    if rule.endswith("-T"):
        lines.append(np.swapaxes(kept, -1, -2).reshape(-1, m))
    for groups in lines:
        assert (groups.sum(axis=1) <= n).all() if solver == "cover" else (groups.sum(axis=1) == n).all()
    if rule.endswith("sequential"):
        windows = np.lib.stride_tricks.sliding_window_view(lines[0], m - n, axis=1)
        assert (~windows.any(axis=2)).any(axis=1).all(), "m - n consecutive zeros in each group"


@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize("sort", SORTS, ids=" ".join)
def test_masks_hold_at_every_step(data, sort, dynamic):
    trainer = trainer_of(data, sort, dynamic=dynamic)
    masked = list(trainer.masks.sparsifier.masks)
    assert len(masked) == 8, "every convolution but the first, and not the last layer"
    for step in range(TINY.steps + 1):
        trainer.run(until=step)
        for name in masked:
            mask = trainer.masks.sparsifier.masks[name]
            check_by_counting(matrices(mask), *sort)
            assert not trainer.model.get_submodule(name).weight[~mask].any()
        assert trainer.masks.hold()
    assert len(trainer.masks.retained) == (1 + TINY.steps // TINY.refresh if dynamic else 1)
    with torch.no_grad():
        mask.fill_(True)
    assert not trainer.masks.hold()


@pytest.mark.parametrize("rule", RULES)
def test_wrong_masks_do_not_follow(rule):
    mask = torch.ones(16, 16, 3, 3, dtype=torch.bool)
    assert not follows(mask, rule)
    mask[:, ::2] = False  # zeros of each group lie apart
    assert follows(mask, rule) == (rule in ("unstructured", "4:8", "2:4", "1:2"))


@pytest.mark.parametrize("rule", ["unstructured", "2:4 sequential", "4:8 sequential"])
def test_own_rules_keep_the_most(rule):
    torch.manual_seed(5)
    model = torch.nn.Sequential(*(torch.nn.Linear(16, 16) for _ in range(3)))
    masks = Masks(model, rule, "exact", None)
    for name, weight in masks.sparsifier.dense_weights.items():
        scores = weight.detach().abs().numpy()
        kept = scores[masks.sparsifier.masks[name].numpy()].sum()
        if rule == "unstructured":
            best = np.sort(scores.ravel())[scores.size // 2 :].sum()
        else:
            n, m = map(int, rule.split()[0].split(":"))
            groups = scores.reshape(-1, m)
            windows = [groups[:, first : first + m - n].sum(axis=1) for first in range(n + 1)]
            best = scores.sum() - np.min(windows, axis=0).sum()
        assert kept == pytest.approx(best, rel=1e-6)
    assert masks.retained[0] == pytest.approx(kept / scores.sum(), abs=0.1)


def test_own_rules_have_no_other_solver(data):
    with pytest.raises(ValueError, match="'unstructured' must be 'exact', got 'greedy'"):
        trainer_of(data, ("unstructured", "greedy"))


class ByHand(torch.nn.Module):
    def __init__(self, weight, dynamic):
        super().__init__()
        self.dynamic = dynamic
        self.find(weight)

    def find(self, weight):
        scores = np.abs(matrices(weight))
        mask = torch.from_numpy(ms.solve(scores, "4:8-T", backend="exact").mask)
        self.mask = (
            mask.permute(2, 3, 0, 1) if mask.ndim == 2 else mask.permute(-2, -1, *range(mask.ndim - 2))
        )

    def forward(self, weight):
        kept = weight * self.mask
        return weight + (kept - weight).detach() if self.dynamic else kept


@pytest.mark.parametrize("dynamic", [True, False])
def test_training_equals_training_by_hand(data, dynamic):
    trainer = trainer_of(data, ("4:8-T", "exact"), dynamic=dynamic)
    trainer.run()

    plain = trainer_of(data, None)
    layers = [plain.model.get_submodule(name) for name in trainer.masks.sparsifier.masks]
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", ByHand(layer.weight, dynamic))
    weights = plain.model.parameters()
    plain.optimizer = torch.optim.SGD(weights, TINY.rate, TINY.momentum, weight_decay=TINY.decay)
    plain.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(plain.optimizer, TINY.steps)
    for step in range(1, TINY.steps + 1):
        plain.run(until=step)
        for layer in layers if dynamic and step % TINY.refresh == 0 else []:
            held = layer.parametrizations.weight
            held[0].find(held.original)
    assert plain.losses == trainer.losses
    assert accuracy(plain.model, data.test) == accuracy(trainer.model, data.test)


@pytest.mark.parametrize("sort", [None, ("4:8-T", "exact"), ("unstructured", "exact")], ids=str)
def test_a_saved_run_goes_on_bit_for_bit(data, sort, tmp_path):
    whole = trainer_of(data, sort)
    whole.run()
    first = trainer_of(data, sort)
    first.run(until=3)  # between two refreshes
    torch.save(first.state(), tmp_path / "state.pt")
    second = trainer_of(data, sort)
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    second.run()
    assert second.losses == whole.losses
    expected = whole.model.state_dict()
    for name, value in second.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    if sort:
        assert second.masks.flipped == whole.masks.flipped


def some_runs():
    sorts = [(DENSE, "exact"), ("4:8-T", "exact"), ("2:4-T", "cover")]
    return [Run(*sort, mode, seed) for seed in (0, 1) for mode in ("scratch", "tuned") for sort in sorts]


def without_times(file):
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return sorted(str(sorted({**line, "seconds": 0}.items())) for line in lines)


def test_broken_off_runs_are_resumed_and_come_out_equal(tmp_path):
    settings = [Setting("shipped", TINY, "test", tmp_path / name) for name in ("whole", "parts")]
    files = [setting.folder / "runs.jsonl" for setting in settings]
    for setting in settings:
        setting.folder.mkdir()
    list(perform_all(some_runs(), settings[0], files[0]))

    list(itertools.islice(perform_all(some_runs(), settings[1], files[1]), 5))
    torn = files[1].read_text()[:-20]
    files[1].write_text(torn)
    resumed = list(perform_all(some_runs(), settings[1], files[1], processes=2))
    assert len(resumed) == len(some_runs()) - 4, "the torn line is made again, the four whole ones are not"
    assert without_times(files[1]) == without_times(files[0])
    assert list(perform_all(some_runs(), settings[1], files[1])) == []

    (settings[1].folder / "dense-0.pt").unlink()  # it can be made again
    again = Run("2:4", "exact", "tuned", 0)
    (line,) = perform_all([again], settings[1], files[1])
    (same,) = perform_all([again], settings[0], files[0])
    assert {**line, "seconds": 0} == {**same, "seconds": 0}


def test_results_of_another_setting_are_not_mixed_in(tmp_path):
    file = tmp_path / "runs.jsonl"
    list(perform_all([Run(DENSE, "exact", "scratch", 0)], Setting("shipped", TINY, "test", tmp_path), file))
    with pytest.raises(SystemExit, match="another setting"):
        read(file, Setting("shipped", Regime(), "test", tmp_path))
    with pytest.raises(SystemExit, match="another setting"):
        read(file, Setting("shipped", TINY, "validation", tmp_path))


@pytest.mark.parametrize("sort", [None, ("4:8-T", "exact"), ("1:2-T", "exact")], ids=str)
def test_losses_fall(data, sort):
    regime = Regime(images=256, steps=30, batch=32, refresh=10)
    trainer = trainer_of(data, sort, regime)
    before = accuracy(trainer.model, data.test)
    trainer.run()
    assert np.mean(trainer.losses[-5:]) < 0.6 * np.mean(trainer.losses[:5])
    assert accuracy(trainer.model, data.test) > before + 30


def test_the_whole_thing_quickly(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    words = ["--quick", "--seeds", "1", "--steps", "2", "--out", str(tmp_path), "--figures", str(tmp_path)]
    command.main(words)
    first = capsys.readouterr().out
    lines = read(tmp_path / "runs.jsonl")
    assert len(lines) == len(plan([0])) == len(set(plan([0])))
    assert all(line["held"] for line in lines if line["rule"] != DENSE)
    for line in lines:
        if is_pattern(line["rule"]) and line["rule"] != DENSE:
            assert all(share <= 1 + 1e-6 for share in line["optimal"])
            assert line["solver"] != "exact" or all(share == pytest.approx(1) for share in line["optimal"])
    for name in ("accuracy_diversity.svg", "accuracy_solvers.svg"):
        assert "<svg" in (tmp_path / name).read_text()
    assert len((tmp_path / "accuracy_runs.csv").read_text().splitlines()) == len(lines) + 1
    command.main(words)
    second = capsys.readouterr().out
    assert second.strip() == first[first.index("\nRegime") :].strip(), "nothing is trained again"


@pytest.mark.parametrize("rule", sorted({run.rule for run in plan_backward([0])} - {DENSE}))
def test_backward_products_read_what_their_rule_says(data, rule):
    trainer = trainer_of(data, (rule, "exact"))
    trainer.run(until=3)
    base = rule.split()[0]
    for name, mask in trainer.masks.sparsifier.masks.items():
        check_by_counting(matrices(mask), base, "exact")
        masking = trainer.model.get_submodule(name).parametrizations.weight[0]
        if rule.endswith(("double-pruned", "bidirectional")):
            assert not (masking.backward_mask & ~mask).any()
            across = matrices(masking.backward_mask).swapaxes(-1, -2).reshape(-1, 4).sum(axis=1)
            assert rule.endswith("bidirectional") or across.max() == 2
        else:
            assert masking.backward_mask is None
        assert (masking.passes is not None and masking.passes.gradients is not None) == rule.endswith("MVUE")
    share = trainer.masks.backward
    assert (share is not None) == rule.endswith(("double-pruned", "bidirectional"))
    assert share is None or 0.7 < share < 0.95


def test_backward_products_are_compared_quickly(tmp_path, capsys):
    words = ["--quick", "--backward", "--seeds", "1", "--steps", "2", "--out", str(tmp_path)]
    command.main(words)
    table = capsys.readouterr().out
    lines = read(tmp_path / "runs.jsonl")
    assert len(lines) == len(plan_backward([0])) == len(set(plan_backward([0])))
    assert all(line["held"] for line in lines if line["rule"] != DENSE)
    rows = [row.split("|")[1].strip() for row in table.splitlines() if row.startswith("|")]
    assert rows[2:] == [DENSE, *(run.rule for run in plan_backward([0]) if run.mode == "fixed")]
    of_patterns = [line for line in lines if line["rule"] == "2:4-T" and line["mode"] == "fixed"]
    assert all(share == pytest.approx(1) for line in of_patterns for share in line["optimal"])
