"""Interrupted runs: killed at any moment, gone on with, refused, locked, and cleaned up after."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from safetensors.numpy import load_file
from weight_files import contents, folder, gaussian, program

import masksolve as ms
from masksolve.checkpoints import output, run, work
from masksolve.checkpoints.journal import Workspace

SLOW = """
import os, sys, time
from masksolve.checkpoints import work
solve, calls = work.solve, 0
def slowly(*args, **kwargs):
    global calls
    calls += 1
    time.sleep(0.02 if calls <= int(os.environ["QUICK"]) else 0.5)
    return solve(*args, **kwargs)
work.solve = slowly
work.ENTRIES = 1024
import masksolve.checkpoints.certificates as certificates
certificates.ENTRIES = 1024
from masksolve.cli import main
sys.argv = ["masksolve", *sys.argv[1:]]
main()
"""


def start(*arguments: object, quick: int = 1_000_000) -> subprocess.Popen[str]:
    """The command, slowed down enough to be caught in the middle.

    After ``quick`` parts it takes half a second for each, and does not end by itself on a machine that has
    no time for the test.
    """
    command = [sys.executable, "-c", SLOW, *map(str, arguments)]
    environment = {**os.environ, "QUICK": str(quick)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def ended(running: subprocess.Popen[str]) -> int:
    running.communicate()
    return running.returncode


def finished(place: Path) -> int:
    journal = place / ".out.masksolve" / "journal"
    return max(journal.read_bytes().count(b"\n") - 1, 0) if journal.exists() else 0


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", layers=4)
    arguments = ("prune", source, "-o", tmp_path / "out", "--pattern", "4:8-T")
    arguments = (*arguments, "--certificate", tmp_path / "proof.safetensors")
    moments = random.Random(0)
    kills = progress = 0
    while not (tmp_path / "out").exists():
        running = start(*arguments, quick=12 if kills <= 2 else 1_000_000)
        before = finished(tmp_path)
        deadline = time.monotonic() + 20
        while running.poll() is None and finished(tmp_path) < before + 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(moments.random() * 0.1)
        if running.poll() is None:
            kills += 1
        running.kill()
        running.communicate()
        assert (tmp_path / "out").exists() or finished(tmp_path) >= progress
        progress = finished(tmp_path)
    assert kills > 2
    assert ended(start(*arguments)) == 0  # complete already, or killed just after it appeared
    fresh = ("prune", source, "-o", tmp_path / "fresh", "--pattern", "4:8-T")
    assert ended(start(*fresh, "--certificate", tmp_path / "p.safetensors")) == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
    assert (tmp_path / "proof.safetensors").read_bytes() == (tmp_path / "p.safetensors").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["fresh", "in", "out", "p.safetensors", "proof.safetensors"]


class Halt(BaseException):
    """Stands for whatever ends a process."""


def halted(
    monkeypatch: pytest.MonkeyPatch, source: Path, target: Path, *, after: int = 8, **settings: object
) -> None:
    """A run that ends in the middle without tidying up."""
    told = 0

    def halt(_: object) -> None:
        nonlocal told
        told += 1
        if told == after:
            raise Halt

    with monkeypatch.context() as patch:
        patch.setattr(run, "_leave", lambda *_, **__: None)
        with pytest.raises(Halt):
            ms.checkpoints.prune(source, target, "2:4", progress=halt, **settings)


def test_what_is_finished_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(tmp_path / "in")
    halted(monkeypatch, source, tmp_path / "out")
    report = ms.checkpoints.prune(source, tmp_path / "out", "2:4")
    assert report.resumed >= 8
    ms.checkpoints.prune(source, tmp_path / "fresh", "2:4")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_bytes_that_never_reached_the_disk_are_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal says more than the files hold, and ends in the middle of a line."""
    source = folder(tmp_path / "in")
    halted(monkeypatch, source, tmp_path / "out", after=14)
    hidden = tmp_path / ".out.masksolve"
    for file in (hidden / "files").glob("*.safetensors"):
        data = bytearray(file.read_bytes())
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
        file.write_bytes(data)
    with (hidden / "journal").open("ab") as journal:
        journal.write(b'{"key": "model-000')
    ms.checkpoints.prune(source, tmp_path / "out", "2:4")
    ms.checkpoints.prune(source, tmp_path / "fresh", "2:4")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pattern": "1:4"}, "pattern was 2:4, is 1:4"),
        ({"exclude": ["*q_proj*"]}, r"exclude was \[\], is \['\*q_proj\*'\]"),
        ({"backend": "greedy"}, "backend was auto, is greedy"),
        ({"recipe": {"*q_proj*": "dense"}}, "recipe was"),
    ],
)
def test_other_settings_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], message: str
) -> None:
    source = folder(tmp_path / "in")
    halted(monkeypatch, source, tmp_path / "out")
    settings = {"pattern": "2:4", **settings}
    with pytest.raises(ms.CheckpointError, match=message):
        ms.checkpoints.prune(source, tmp_path / "out", **settings)
    assert finished(tmp_path) >= 7
    ms.checkpoints.prune(source, tmp_path / "out", **settings, resume=False)
    ms.checkpoints.prune(source, tmp_path / "fresh", **settings)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_other_inputs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(tmp_path / "in")
    halted(monkeypatch, source, tmp_path / "out")
    file = source / "model-00001-of-00003.safetensors"
    moment = file.stat()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    data[4000] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(moment.st_atime_ns, moment.st_mtime_ns))
    with pytest.raises(ms.CheckpointError, match=r"tensor 'model.* has changed since"):
        ms.checkpoints.prune(source, tmp_path / "out", "2:4")


def test_two_runs_on_one_output_exclude_each_other(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    with Workspace(tmp_path / "out"):
        with pytest.raises(ms.CheckpointError, match=rf"written by another run .process {os.getpid()}"):
            ms.checkpoints.prune(source, tmp_path / "out", "2:4")
        refused = program("prune", source, "-o", tmp_path / "out", "--pattern", "2:4")
        assert refused.returncode == 2
        assert "another run" in refused.stderr
    ms.checkpoints.prune(source, tmp_path / "out", "2:4")


def test_a_complete_output_is_left_as_it_is(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    first = ms.checkpoints.prune(source, tmp_path / "out", "2:4")
    times = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir()}
    again = ms.checkpoints.prune(source, tmp_path / "out", "2:4")
    assert again.complete_before
    assert again.manifest() == first.manifest()
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir()} == times
    with pytest.raises(ms.CheckpointError, match="pattern was 2:4, is 1:4"):
        ms.checkpoints.prune(source, tmp_path / "out", "1:4")
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]
    file = tmp_path / "out" / "model-00002-of-00003.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x07")
    with pytest.raises(ms.CheckpointError, match=r"its tensor '.*' has changed"):
        ms.checkpoints.prune(source, tmp_path / "out", "2:4")
    ms.checkpoints.prune(source, tmp_path / "out", "1:4", force=True)
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor_gives_the_same_bytes(tmp_path: Path, kind: type) -> None:
    source = folder(tmp_path / "in")
    with kind(2) as executor:
        ms.checkpoints.prune(source, tmp_path / "out", "4:8-T", executor=executor)
    ms.checkpoints.prune(source, tmp_path / "fresh", "4:8-T", workers=3)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


# Signals and full disks


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_nothing_beside_a_file(tmp_path: Path, number: signal.Signals) -> None:
    np.save(tmp_path / "w.npy", gaussian(512, 512))
    running = start("prune", tmp_path / "w.npy", "-o", tmp_path / "out.npy", "--pattern", "2:4", quick=12)
    while running.poll() is None and not (tmp_path / ".out.npy.masksolve" / "journal").exists():
        time.sleep(0.01)
    time.sleep(0.1)
    running.send_signal(number)
    _, error = running.communicate()
    assert running.returncode == (1 if number == signal.SIGINT else 128 + number)
    assert "masksolve: stopped; nothing was written" in error
    assert "Traceback" not in error
    assert os.listdir(tmp_path) == ["w.npy"]


def test_a_signal_keeps_what_is_finished_of_a_folder(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", layers=8)
    running = start("prune", source, "-o", tmp_path / "out", "--pattern", "2:4", quick=12)
    while running.poll() is None and finished(tmp_path) < 3:
        time.sleep(0.01)
    running.terminate()
    _, error = running.communicate()
    assert running.returncode == 128 + signal.SIGTERM
    assert "the same command goes on" in error
    assert finished(tmp_path) >= 3
    done = start("prune", source, "-o", tmp_path / "out", "--pattern", "2:4")
    printed, _ = done.communicate()
    assert "gone on with earlier work" in printed
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


def test_a_full_disk_names_the_output(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk."""
    np.save(tmp_path / "w.npy", gaussian(256, 256))
    command = [sys.executable, "-m", "masksolve", "prune", "w.npy", "-o", "o.npy", "--pattern", "2:4"]

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    environment = {**os.environ, "PYTHONPATH": str(Path(ms.__file__).parents[1])}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, preexec_fn=limit, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"OUT '{tmp_path / 'o.npy'}' cannot be written: File too large" in done.stderr
    assert os.listdir(tmp_path) == ["w.npy"]


def test_too_little_room_is_said_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder(tmp_path / "in")
    real = os.statvfs(tmp_path)

    class Disk:
        f_bfree, f_frsize = 1, real.f_frsize

    monkeypatch.setattr(output.os, "statvfs", lambda _: Disk)
    monkeypatch.setattr(work, "solve", None)
    with pytest.raises(ms.CheckpointError, match=r"OUT '.*out' cannot be written: No space left.*are free"):
        ms.checkpoints.prune(source, tmp_path / "out", "2:4")
    assert os.listdir(tmp_path) == ["in"]


def test_the_manifest_holds_digests(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    ms.checkpoints.prune(source, tmp_path / "out", "2:4")
    manifest = json.loads((tmp_path / "out" / "masksolve.json").read_text())
    assert manifest["masksolve"] == ms.__version__
    assert manifest["settings"]["pattern"] == "2:4"
    assert manifest["digests"] == "BLAKE3"
    files = {
        side: {path.name: load_file(path) for path in (tmp_path / side).glob("*.safetensors")}
        for side in ("in", "out")
    }
    for key, said in manifest["tensors"].items():
        file, _, name = key.partition(":")
        assert said["input"] == blake3(files["in"][file][name].tobytes()).hexdigest()
        assert said["output"] == blake3(files["out"][file][name].tobytes()).hexdigest()
        assert (said["input"] == said["output"]) == ("left_alone" in said)
