"""Work on many processes, results in the order of the jobs."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import TypeVar

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
    if workers == 1 and not fresh_processes:
        yield from map(function, jobs)
        return
    with ProcessPoolExecutor(
        workers,
        # a forked child would inherit the threads' locks of numeric libraries
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
        max_tasks_per_child=1 if fresh_processes else None,
    ) as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for job in jobs:
                pending.append(pool.submit(function, job))
                if len(pending) >= JOBS_AHEAD * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it even when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
