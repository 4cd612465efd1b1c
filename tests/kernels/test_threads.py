"""What is made ahead on another thread comes in order, and nothing is left behind."""

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
import torch

from grulight.kernels.threads import ahead


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def name_of(number: int) -> tuple[int, str]:
    return number, threading.current_thread().name


def left_over() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("grulight ahead")]


@pytest.mark.parametrize("threads", [1, 2])
def test_results_come_in_order_from_another_thread_where_there_are_two(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    numbers, names = zip(*ahead(name_of, [(n,) for n in range(5)]), strict=True)
    torch.set_num_threads(before)
    assert numbers == (0, 1, 2, 3, 4)
    assert {name.startswith("grulight ahead") for name in names} == {threads == 2}
    assert left_over() == []


@pytest.mark.usefixtures("two_threads")
def test_a_result_is_made_while_the_one_before_is_used() -> None:
    begun = [threading.Event() for _ in range(3)]
    for n, _ in enumerate(ahead(lambda n: begun[n].set(), [(n,) for n in range(3)])):
        assert begun[min(n + 1, 2)].wait(10)


@pytest.mark.usefixtures("two_threads")
def test_an_error_arrives_where_its_result_is_asked() -> None:
    results = ahead(lambda n: 1 // n, [(1,), (0,), (1,)])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert left_over() == []


@pytest.mark.usefixtures("two_threads")
def test_who_stops_early_leaves_no_thread() -> None:
    with closing(ahead(name_of, [(n,) for n in range(5)])) as results:
        assert next(results)[0] == 0
    assert left_over() == []
