"""Work on many processes, results in the order of the jobs."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import wait
from typing import TypeVar

from audio_vq.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")

JOBS_AHEAD = 4  # per worker: keeps all busy while few results wait in memory


def in_order(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int, *, fresh_processes: bool = False
) -> Generator[Result]:
    """Yield `function(job)` for each job in turn, computed ahead by `workers` processes.

    One worker means this process, unless `fresh_processes` asks for a new process for every job. Close the
    iterator (`contextlib.closing`) to stop early.
    """
    if fresh_processes:
        # max_tasks_per_child=1 would say the same, but it can hang: https://github.com/python/cpython/issues/115634
        yield from _ahead(ThreadPoolExecutor(workers), partial(_in_fresh_process, function), jobs, workers)
    elif workers > 1:
        yield from _ahead(_processes(workers), function, jobs, workers)
    else:
        yield from map(function, jobs)


def _ahead(
    executor: Executor, function: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Generator[Result]:
    pending: deque[Future[Result]] = deque()
    with executor:
        try:
            for job in jobs:
                pending.append(executor.submit(function, job))
                if len(pending) >= JOBS_AHEAD * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool:
            raise UserError(
                "a worker process was killed, most likely for want of memory; repeat the command with fewer --workers"
            ) from None
        finally:
            for future in pending:
                future.cancel()


def _in_fresh_process(function: Callable[[Job], Result], job: Job) -> Result:
    with _processes(1) as executor:
        return executor.submit(function, job).result()


def _processes(workers: int) -> ProcessPoolExecutor:
    # spawned: a forked child would inherit the locks of numeric libraries' threads
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it even when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
