"""FSDP2, tensor parallelism and both: processes train as one does, and each holds its part of the masks."""

import sys
from pathlib import Path

import pytest

import masksolve as ms

torch = pytest.importorskip("torch")

from torch import distributed, multiprocessing  # noqa: E402

if not (distributed.is_available() and distributed.is_gloo_available()):
    pytest.skip("torch was built without gloo", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parent))  # for the processes that are started
import sharded_worker  # noqa: E402

CASES = [
    (processes, order, pattern)
    for processes in (2, 4)
    for order in sharded_worker.orders(processes)
    for pattern in sharded_worker.patterns(processes)
]
EVERY = pytest.mark.parametrize(("processes", "order", "pattern"), CASES)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What each of two and of four processes saw."""

    folder = tmp_path_factory.mktemp("sharded")
    multiprocessing.spawn(sharded_worker.run, args=(str(folder),), nprocs=4)
    return {
        processes: [
            torch.load(folder / str(processes) / f"{rank}.pt", weights_only=False)
            for rank in range(processes)
        ]
        for processes in (2, 4)
    }


@EVERY
def test_processes_train_as_one(seen, processes, order, pattern):
    alone = seen[processes][0][sharded_worker.ALONE, pattern]
    here, *others = (each[order, pattern] for each in seen[processes])
    assert here["names"] == alone["names"]
    assert here["restored"]
    for name, weight in alone["weights"].items():
        assert all(torch.equal(here["weights"][name], each["weights"][name]) for each in others)
        if order in ("sharded first", "masked first"):
            assert torch.equal(here["weights"][name], weight)
        else:  # tensor parallelism adds up products in another order
            torch.testing.assert_close(here["weights"][name], weight, rtol=1e-4, atol=1e-5)
        if weight.ndim == 2:
            assert ms.verify((here["weights"][name] != 0).numpy(), pattern).ok
    for ours, theirs in zip(here["records"], alone["records"], strict=True):
        assert ours[:5] == theirs[:5]
        assert ours[5:9] == pytest.approx(theirs[5:9], rel=1e-3, abs=1e-6)


CUT = {  # layers of which a shard cuts through tiles of 8 x 8
    (2, "sharded first"): {"2"},
    (2, "masked first"): {"2"},
    (4, "sharded first"): {"2", "4"},
    (4, "masked first"): {"2", "4"},
    (4, "both, sharded first"): {"2"},
    (4, "both, masked first"): {"2"},
}


@EVERY
def test_masks_are_sharded_as_their_weights(seen, processes, order, pattern):
    entries = {"0": 32 * 16, "2": 24 * 32, "4": 16 * 24}
    shards = dict.fromkeys(entries, processes)
    if order == "tensor parallel":
        shards["4"] = 1
    elif order in sharded_worker.BOTH:
        shards["4"] = sharded_worker.MESHES[processes][0]
    held = sum(entries[name] // shards[name] for name in entries)
    for process in seen[processes]:
        found = process[order, pattern]
        assert {name for name, sharded in found["sharded"].items() if sharded} == {
            name for name in entries if shards[name] > 1
        }
        assert found["bytes"] == found["static bytes"] == held  # one byte an entry of the shard
        cut = {name for name, note in found["notes"].items() if "gathered for each solve" in note}
        assert cut == (CUT.get((processes, order), set()) if pattern == "4:8-T" else set())
