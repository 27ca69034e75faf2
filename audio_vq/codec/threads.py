"""Torch on one thread at a time, where rounding must not depend on the number of cores.

How many threads share a matrix product may change its rounding. `torch.set_num_threads` counts for the calling thread,
and for threads that begin later; both are as before when these functions return.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch works on the calling thread alone. Never to be held across a `yield`: others would compute meanwhile."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def lone_threads(count: int) -> ThreadPoolExecutor:
    """A pool of threads on each of which torch works alone; all of them have begun."""
    begun = threading.Barrier(count + 1)

    def begin() -> None:
        torch.get_num_threads()  # a thread that has not asked yet would later take what others have set
        torch.set_num_threads(1)
        begun.wait()

    pool = ThreadPoolExecutor(count, initializer=begin)
    for _ in range(count):  # a pool begins a thread for every job that finds none idle
        pool.submit(int)
    begun.wait()
    torch.set_num_threads(torch.get_num_threads())  # what threads that begin later get: again as many as this one
    return pool
