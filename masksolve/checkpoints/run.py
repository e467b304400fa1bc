"""Carrying out a plan: pieces handed to workers, finished ones written down, the output put in place."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from ..errors import CheckpointError, MaskSolveError
from ..execution import Execution
from .certificates import check_place, write_certificate
from .digests import digest, together
from .entries import read
from .folder import MANIFEST
from .formats import open_weights
from .journal import Workspace, differences
from .output import check_target, publish, stage
from .plan import Plan
from .report import Report, make_report, report_from
from .work import Piece, Record, check, do

_WAITING = 256
"""Pieces handed to an executor whose size is not known, and not yet finished."""

_HELPERS = 2
"""Threads beside those that solve: one reads while another writes."""

Work = Callable[[Piece], Any]


@dataclass(frozen=True)
class Progress:
    """How far a run is. ``phase`` is "checking", "copying", "solving" or "writing"."""

    phase: str
    tensor: str
    tensors: int
    all_tensors: int
    bytes: int
    all_bytes: int


Listener = Callable[[Progress], object]


def carry_out(
    plan: Plan,
    target: Path,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    resume: bool = True,
    force: bool = False,
    certificate: Path | None = None,
    worst: bool = False,
    progress: Listener | None = None,
) -> Report:
    """Carry out a plan; see `masksolve.checkpoints.prune`."""
    started = time.perf_counter()
    target = check_target(plan.checkpoint, target, force=force)
    if certificate is not None:
        check_place(certificate, target)
    solvers = Execution.of(workers, None, None).workers
    identity = {**plan.identity(), "certificate": certificate is not None}
    with Workspace(target) as space, _workers(solvers, executor) as (pool, work):
        if not resume:
            space.empty()
        published = None if force else _published(plan, target, certificate)
        if published is not None:
            space.remove()
            return published
        done = space.begin(identity)
        try:
            run = _Run(plan, space, pool, work, room=_room(solvers, executor), progress=progress)
            records, resumed = run.all(done, prices=certificate is not None, worst=worst)
            report = make_report(
                plan, target, records, seconds=time.perf_counter() - started, resumed=resumed
            )
            if certificate is not None:
                write_certificate(certificate, plan, report, space)
            publish(plan.checkpoint, space, report)
        except BaseException as error:
            _leave(plan, space, error, keep=resume)
            raise
        space.remove()
    return report


@contextmanager
def _workers(solvers: int, executor: Executor | None) -> Iterator[tuple[Executor, Work]]:
    """Yield an executor, and the function that does a piece there.

    Of our own threads only ``solvers`` solve at a time; the others read the next pieces and write the
    last ones meanwhile.
    """
    if executor is not None:
        yield executor, do
        return
    pool = ThreadPoolExecutor(solvers + _HELPERS, thread_name_prefix="masksolve")
    try:
        yield pool, partial(do, gate=BoundedSemaphore(solvers))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _room(solvers: int, executor: Executor | None) -> int:
    return solvers + _HELPERS + 1 if executor is None else _WAITING


class _Run:
    """The loop that hands pieces out and collects their records."""

    def __init__(
        self,
        plan: Plan,
        space: Workspace,
        pool: Executor,
        work: Work,
        *,
        room: int,
        progress: Listener | None,
    ) -> None:
        self.plan, self.space, self.pool, self.work = plan, space, pool, work
        self.room = room
        self._tell = progress
        self._left: dict[str, int] = {}
        self._bytes = 0

    def all(
        self, done: dict[str, Record], *, prices: bool, worst: bool
    ) -> tuple[dict[str, list[Record]], int]:
        """Do every piece that is not finished.

        Returns
        -------
        records : dict
            Those of each tensor's parts, by file and tensor.
        resumed : int
            Pieces that were finished before.
        """
        stage(self.plan.checkpoint, self.space)
        folder = self.space.prices if prices else None
        pieces = [
            piece
            for step in self.plan.steps
            for piece in self.plan.pieces(step, self.space.files, prices=folder, worst=worst)
        ]
        for piece in pieces:
            self._left[tensor_of(piece)] = self._left.get(tensor_of(piece), 0) + 1
        with closing(self._finished(pieces, done)) as finished:
            records = {piece.key: done[piece.key] for piece in finished}
        resumed = len(records)
        left = [piece for piece in pieces if piece.key not in records]
        with closing(self._answers(self.work, left)) as answers:
            for piece, record in answers:
                self.space.record(piece.key, record)
                records[piece.key] = record
                self._count(piece, "copying" if piece.pattern is None else "solving")
        self._report("writing", "")
        grouped: dict[str, list[Record]] = defaultdict(list)
        for piece in pieces:
            grouped[tensor_of(piece)].append(records[piece.key])
        return grouped, resumed

    def _finished(self, pieces: Sequence[Piece], done: dict[str, Record]) -> Generator[Piece]:
        """Pieces of an earlier run that are what the journal says."""
        candidates = [piece for piece in pieces if piece.key in done]
        with closing(self._answers(partial(_check, done), candidates, local=True)) as answers:
            for piece, wrong in answers:
                if wrong == "input":
                    raise CheckpointError(
                        f"OUT '{self.space.target}' was begun by a run that differs: tensor "
                        f"'{piece.entry.name}' of '{piece.source}' has changed since. Add --restart "
                        f"(resume=False) to discard what it did"
                    )
                if wrong is None:
                    self._count(piece, "checking")
                    yield piece

    def _answers(
        self, work: Work, pieces: Iterable[Piece], *, local: bool = False
    ) -> Generator[tuple[Piece, Any]]:
        """Pieces and what became of them, as they finish; not more than ``room`` are under way."""
        waiting: dict[Future[Any], Piece] = {}
        supply = iter(pieces)
        pool = ThreadPoolExecutor(_HELPERS) if local else self.pool
        try:
            while True:
                for piece in supply:
                    waiting[pool.submit(work, piece)] = piece
                    if len(waiting) >= self.room:
                        break
                if not waiting:
                    return
                finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    piece = waiting.pop(future)
                    yield piece, _result(future, piece)
        finally:
            for future in waiting:
                future.cancel()
            if local or isinstance(self.pool, ThreadPoolExecutor):
                wait(waiting)  # nobody writes any more when the files are removed or put in place
            if local:
                pool.shutdown()

    def _count(self, piece: Piece, phase: str) -> None:
        self._bytes += piece.count
        name = tensor_of(piece)
        self._left[name] -= 1
        if not self._left[name]:
            del self._left[name]
        self._report(phase, piece.entry.name)

    def _report(self, phase: str, tensor: str) -> None:
        if self._tell is not None:
            every = len(self.plan.steps)
            self._tell(Progress(phase, tensor, every - len(self._left), every, self._bytes, self.plan.bytes))


def _result(future: Future[Any], piece: Piece) -> Any:
    try:
        return future.result()
    except (MaskSolveError, ValueError, TypeError):
        raise
    except Exception as error:  # such as a worker that was killed; every executor has its own
        raise CheckpointError(
            f"tensor '{piece.entry.name}': its worker failed: {type(error).__name__}: {error}"
        ) from error


def tensor_of(piece: Piece) -> str:
    """File and name of the tensor that a piece is a part of."""
    return piece.key.rpartition(":")[0]


def _check(done: dict[str, Record], piece: Piece) -> str | None:
    return check(piece, done[piece.key])


def _leave(plan: Plan, space: Workspace, error: BaseException, *, keep: bool) -> None:
    """After a failure: keep what is finished if going on makes sense, otherwise remove it.

    A refused tensor needs other settings, so that nothing could be gone on with. One file is done
    again soon enough, and nobody expects a hidden folder beside it.
    """
    journal = space.path / "journal"
    begun = journal.exists() and journal.read_bytes().count(b"\n") > 1
    if keep and begun and plan.checkpoint.is_folder and not isinstance(error, ValueError):
        error.add_note(
            f"what is finished is in '{space.path}': the same command goes on, --restart discards it"
        )
    else:
        space.remove()


def _published(plan: Plan, target: Path, certificate: Path | None) -> Report | None:
    """Read the report of an output folder that is already complete; None if there is none.

    Raises
    ------
    CheckpointError
        If the folder is the output of other settings or inputs, or is not what it says.
    """
    path = target / MANIFEST
    if not plan.checkpoint.is_folder or not path.is_file():
        return None
    content = json.loads(path.read_bytes())
    now = json.loads(json.dumps(plan.identity()))
    wrong = "; ".join(list(differences({key: content.get(key) for key in now}, now))[:4])
    if not wrong and certificate is not None and not certificate.is_file():
        wrong = f"certificate '{certificate}' does not exist"
    report = None
    if not wrong:
        report = report_from(content, plan, target)
        wrong = "; ".join(_changed(plan, report, target))
    if wrong:
        raise CheckpointError(
            f"OUT '{target}' is complete, but not what this command would write: {wrong}. Add --force to "
            f"replace it, or choose another folder"
        )
    return report


def _changed(plan: Plan, report: Report, target: Path) -> Iterator[str]:
    """Tensors of a complete output, or of its source, whose bytes are not those of the report."""
    written = {name: open_weights(target / name).entries for name in plan.checkpoint.weights}
    for step, tensor in zip(plan.steps, report.tensors, strict=True):
        pieces = list(plan.pieces(step, target))
        before = [digest(read(piece.source, piece.entry, piece.first, piece.count)) for piece in pieces]
        if together(before) != tensor.input:
            yield f"tensor '{tensor.name}' of '{plan.checkpoint.path}' has changed"
        entry = next((entry for entry in written[step.file] if entry.name == tensor.name), None)
        after = [digest(read(piece.target, entry, piece.first, piece.count)) for piece in pieces if entry]
        if not after or together(after) != tensor.output:
            yield f"its tensor '{tensor.name}' has changed"
