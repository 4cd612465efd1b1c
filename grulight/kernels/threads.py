"""Share a kernel's work among threads, as many as torch is told to use."""

import os
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise, starmap
from typing import TypeVar

Work = Callable[[int, int], None]
Result = TypeVar("Result")

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


def ahead(
    work: Callable[..., Result], arguments: Sequence[tuple[object, ...]]
) -> Generator[Result, None, None]:
    """Yield what ``work`` returns for each of many arguments, in order.

    While a result is used, the next one is made on another thread, where there may be two. To be
    closed by who does not use all of them.

    Args:
        work: It must let go of Python's lock. What it raises is raised where its result is asked.
        arguments: Of each call.
    """
    if min(_allowed(), len(arguments)) < 2:
        yield from starmap(work, arguments)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="grulight ahead") as pool:
        waiting = pool.submit(work, *arguments[0])
        for each in arguments[1:]:
            found = waiting.result()
            waiting = pool.submit(work, *each)
            yield found
        yield waiting.result()


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
