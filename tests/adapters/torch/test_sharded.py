"""FSDP2 and tensor parallelism: two processes train as one does, and each holds its part of the masks."""

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


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What each of two processes saw."""
    folder = tmp_path_factory.mktemp("sharded")
    multiprocessing.spawn(sharded_worker.run, args=(2, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


EVERY = pytest.mark.parametrize(
    ("order", "pattern"), [(o, p) for o in sharded_worker.ORDERS[1:] for p in sharded_worker.PATTERNS]
)


@EVERY
def test_two_processes_train_as_one(seen, order, pattern):
    alone, here, there = seen[0]["one process", pattern], *(each[order, pattern] for each in seen)
    assert here["names"] == alone["names"]
    assert here["restored"]
    for name, weight in alone["weights"].items():
        assert torch.equal(here["weights"][name], there["weights"][name])
        if order == "tensor parallel":  # which adds up products in another order
            torch.testing.assert_close(here["weights"][name], weight, rtol=1e-4, atol=1e-5)
        else:
            assert torch.equal(here["weights"][name], weight)
        if weight.ndim == 2:
            assert ms.verify((here["weights"][name] != 0).numpy(), pattern).ok
    for ours, theirs in zip(here["records"], alone["records"], strict=True):
        assert ours[:5] == theirs[:5]
        assert ours[5:9] == pytest.approx(theirs[5:9], rel=1e-3, abs=1e-6)


@EVERY
def test_masks_are_sharded_as_their_weights(seen, order, pattern):
    for process in seen:
        found = process[order, pattern]
        parts = {"0", "2"} if order == "tensor parallel" else {"0", "2", "4"}
        assert {name for name, sharded in found["sharded"].items() if sharded} == parts
        entries = process["one process", pattern]["mask entries"]
        whole = 16 * 24 if order == "tensor parallel" else 0
        assert found["mask entries"] == (entries - whole) // 2 + whole
        cut = {name for name, note in found["notes"].items() if "gathered for each solve" in note}
        assert cut == ({"2"} if pattern == "4:8-T" and order != "tensor parallel" else set())
