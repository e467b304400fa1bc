"""Data parallel training: processes agree on their masks without sending them."""

import pytest

import masksolve as ms

torch = pytest.importorskip("torch")

import parallel_worker  # noqa: E402
from torch import distributed, multiprocessing  # noqa: E402

pytestmark = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()),
    reason="torch was built without gloo",
)


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """What each of two processes saw."""
    folder = tmp_path_factory.mktemp("gloo")
    multiprocessing.spawn(parallel_worker.run, args=(2, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("order", parallel_worker.ORDERS)
def test_two_processes_keep_identical_masks(processes, order):
    first, second = (process[order] for process in processes)
    layers = len(first["history"][0]["masks"])
    assert layers == 3
    changed = 0
    for step, (here, there) in enumerate(zip(first["history"], second["history"], strict=True)):
        due = (step + 1) % parallel_worker.REFRESH == 0
        assert here["solves"] == there["solves"] == layers * due
        for name, mask in here["masks"].items():
            assert torch.equal(mask, there["masks"][name])
            assert torch.equal(here["weights"][name], there["weights"][name])
            place = mask.flatten(2)[..., 0] if mask.ndim > 2 else mask
            assert ms.verify(place, "4:8-T").ok
            changed += int((mask != first["history"][0]["masks"][name]).sum())
    assert changed > 0
    assert first["mask_kept"]
    assert second["mask_kept"]
