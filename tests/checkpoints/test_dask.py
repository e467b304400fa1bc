"""Many machines: a scheduler and two workers of their own, one of which is killed while it works."""

from __future__ import annotations

import contextlib
import os
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from weight_files import contents, fail, folder

import masksolve as ms
from masksolve.checkpoints import cluster
from masksolve.checkpoints.cluster import dask_executor
from masksolve.remedies import pip_install

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


@contextmanager
def listener(answer: bytes) -> Iterator[str]:
    """Address of something that is no scheduler: it sends an answer to whoever connects, and listens on."""

    class Answering(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):  # the other side may be gone
                self.request.sendall(answer)
                while self.request.recv(4096):
                    pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield "tcp://{}:{}".format(*server.server_address)
        finally:
            server.shutdown()
            thread.join()


def refusal(tmp_path: Path, address: str) -> str:
    np.save(tmp_path / "w.npy", np.eye(4, dtype=np.float32))
    arguments = ("prune", tmp_path / "w.npy", "-o", tmp_path / "out.npy", "--pattern", "2:4")
    line = fail(*arguments, "--dask", address)
    assert not (tmp_path / "out.npy").exists()
    return line


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["silence", "http"])
def test_something_else_listens_at_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(cluster, "_PATIENCE", 0.5)
    with listener(answer) as address:
        line = refusal(tmp_path, address)
    assert f"no Dask scheduler answers at '{address}'" in line
    assert f"start one with 'dask scheduler', and workers with 'dask worker {address}'" in line


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere:port", "pigeon://127.0.0.1:8786"])
def test_addresses_at_which_there_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(cluster, "_PATIENCE", 0.5)
    line = refusal(tmp_path, address)
    assert f"no Dask scheduler answers at '{address}'" in line
    assert "start one with 'dask scheduler'" in line


def test_scheduler_files_that_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_PATIENCE", 0.5)
    monkeypatch.setattr(cluster, "_STARTING", 0.2)
    file = tmp_path / "cluster.json"
    remedy = f"start a scheduler that writes it with 'dask scheduler --scheduler-file {file}'"
    line = refusal(tmp_path, str(file))
    assert f"scheduler file '{file}': No such file or directory after 0.2 s; {remedy}" in line
    for content in ("", "{}", "[]", '{"address": '):
        file.write_text(content)
        line = refusal(tmp_path, str(file))
        assert "it must be JSON with an 'address'" in line
        assert remedy in line
    file.write_text('{"address": "tcp://127.0.0.1:1"}')
    line = refusal(tmp_path, str(file))
    assert f"no Dask scheduler answers at 'tcp://127.0.0.1:1', as '{file}' says" in line


def test_what_is_no_address(tmp_path: Path) -> None:
    assert "--dask must be the address of a scheduler, such as tcp://" in refusal(tmp_path, "here")


def test_dask_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert f"Dask is not installed: {pip_install('dask')}" in refusal(tmp_path, "tcp://127.0.0.1:1")
