"""Share a kernel's work among threads, as many as torch is told to use."""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

Work = Callable[[int, int], None]

# Handing a thread its share takes some 50 µs; so many multiplications take about ten times that.
WORTH_A_THREAD = 5_000_000


def count(units: int, multiplications: int) -> int:
    """Return how many threads so much work is shared among; see ``share``."""
    return min(_allowed(), units, multiplications // WORTH_A_THREAD)


def share(work: Work, units: int, multiplications: int) -> None:
    """Call ``work(start, stop)`` so that it covers all units; it must let go of Python's lock.

    Args:
        work: Does units ``start`` to ``stop``, with the same results however they are shared.
        units: How many there are.
        multiplications: About how many all of them take: little work stays on this thread.
    """
    threads = count(units, multiplications)
    if threads < 2:
        work(0, units)
        return
    bounds = [units * n // threads for n in range(threads + 1)]
    pool = _pool(os.getpid(), threads - 1)
    futures = [pool.submit(work, *pair) for pair in pairwise(bounds[1:])]
    work(bounds[0], bounds[1])
    for future in futures:
        future.result()


def _allowed() -> int:
    """Return how many threads torch is told to use, or would be if it were there."""
    if (torch := sys.modules.get("torch")) is not None:
        return int(torch.get_num_threads())
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) else os.cpu_count() or 1


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return the threads of a process; a fork has none of its parent's."""
    return ThreadPoolExecutor(threads, thread_name_prefix="grulight")
