"""Many machines: a scheduler and two workers of their own, one of which is killed while it works."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from weight_files import contents, fail, folder

import masksolve as ms
from masksolve.checkpoints import cluster
from masksolve.checkpoints.cluster import dask_executor

pytest.importorskip("distributed")

# A worker may run this more than once.
SLOWLY = """
import time
from masksolve import solve
from masksolve.checkpoints import work

def slowly(*args, **kwargs):
    time.sleep(0.05)
    return solve(*args, **kwargs)

work.solve = slowly
"""


def wait_for(known: Path, scheduler: subprocess.Popen[bytes]) -> None:
    """Until the scheduler has written where it is: Dask makes the file first and fills it afterwards."""
    deadline = time.monotonic() + 120
    while not (known.exists() and known.read_bytes().rstrip().endswith(b"}")):
        assert scheduler.poll() is None, (known.parent / "scheduler.log").read_text()
        assert time.monotonic() < deadline, "the scheduler does not start"
        time.sleep(0.05)


@contextmanager
def processes(place: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Address of a scheduler, and its two workers, each a process with one thread."""
    (place / "slowly.py").write_text(SLOWLY)
    path = os.pathsep.join([str(Path(ms.__file__).parents[1]), str(place)])
    environment = {**os.environ, "PYTHONPATH": path, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "10"}
    known = place / "scheduler.json"

    def begin(what: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "distributed.cli.dask_" + what, "--no-dashboard", *arguments]
        with (place / f"{what}.log").open("ab") as log:
            return subprocess.Popen(command, cwd=place, env=environment, stdout=log, stderr=log)

    scheduler = begin("scheduler", "--scheduler-file", str(known), "--port", "0", "--host", "127.0.0.1")
    options = ("--scheduler-file", str(known), "--nthreads", "1", "--no-nanny", "--preload", "slowly.py")
    workers: list[subprocess.Popen[bytes]] = []
    try:
        workers += [begin("worker", *options) for _ in range(2)]
        wait_for(known, scheduler)
        yield str(known), workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


def test_a_worker_dies_and_the_bytes_are_the_same(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", layers=6)
    home = tmp_path / "home"
    home.mkdir()
    with processes(home) as (address, workers), dask_executor(address) as executor:
        solved = 0
        enough = threading.Event()

        def count(now: ms.checkpoints.Progress) -> None:
            nonlocal solved
            solved += now.phase == "solving"
            if solved >= 4 and not enough.is_set():
                enough.set()
                workers[0].kill()

        report = ms.checkpoints.prune(source, tmp_path / "out", "4:8-T", executor=executor, progress=count)
    assert enough.is_set()
    assert report.resumed == 0
    assert workers[0].returncode is not None
    ms.checkpoints.prune(source, tmp_path / "fresh", "4:8-T")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_scheduler_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_PATIENCE", 1)
    source = folder(tmp_path / "in")
    arguments = ("prune", source, "-o", tmp_path / "out", "--pattern", "2:4", "--dask", "tcp://127.0.0.1:9")
    assert "no Dask scheduler answers at 'tcp://127.0.0.1:9'" in fail(*arguments)
