"""The peer's side: answer the benchmark's requests, a line of JSON each, and keep the time.

The one place where a clock is read. A peer calls :func:`serve`; a framework that owns its training
loop calls :func:`boundary` from a callback at the start of every epoch.
"""

import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO

import numpy as np
from work import CHECKED, Array, Work, load

Predict = Callable[[Array], Array]
Gradients = Callable[[Array, Array], dict[str, Array]]


class Unavailable(Exception):
    """A peer that cannot run here; the message says why."""


@dataclass
class Peer:
    """What a peer can do with its work.

    Attributes:
        versions: Of its packages.
        predict: Sequences (batch, steps, features) to probabilities (batch, classes); or why not.
        gradients: Sequences and labels to the gradient of the mean cross entropy by every weight.
        train: Trains for ever and calls :func:`boundary` before each epoch; or why not.
        verify: Says what is wrong with the epoch that was just trained, or None.
    """

    versions: str
    predict: Predict | str = "does not predict"
    gradients: Gradients | None = None
    train: Callable[[], None] | str = "does not train"
    verify: Callable[[], str | None] | None = None


@dataclass
class _Session:
    peer: Peer
    work: Work
    answers: TextIO
    wanted: int = 0  # epochs
    started: float = 0.0
    times: list[float] = field(default_factory=list)


_session: _Session | None = None


def serve(build: Callable[[Work, Sequence[str]], Peer]) -> None:
    """Build the peer for the work on the command line, and answer requests until they end."""
    global _session
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a framework prints is no answer
    path, *arguments = sys.argv[1:]
    work = load(path)
    try:
        peer = build(work, arguments)
    except Unavailable as error:
        print(json.dumps({"skip": str(error)}), file=answers)
        return
    _session = _Session(peer, work, answers)
    _answer(peer.versions)
    _await_epochs(_session)
    assert callable(peer.train)
    peer.train()


def boundary() -> None:
    """End an epoch and start the next one; between the two, requests are answered."""
    now = perf_counter()
    session = _session
    if session is None:  # another rank
        return
    if session.started:
        session.times.append(now - session.started)
    if len(session.times) == session.wanted:
        _answer(session.times)
        _await_epochs(session)
    session.started = perf_counter()


def _await_epochs(session: _Session) -> None:
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        kind = request.pop("do")
        if kind == "epochs":
            if isinstance(session.peer.train, str):
                _answer(session.peer.train)
                continue
            session.wanted, session.times, session.started = request["count"], [], 0.0
            return
        _answer({"check": _check, "verify": _verify, "calls": _calls}[kind](session, **request))
    os._exit(0)  # a framework would clean up, and take its time


def _answer(answer: Any) -> None:
    assert _session is not None
    print(json.dumps({"answer": answer}), file=_session.answers)


def _check(session: _Session, path: str) -> None:
    """Write outputs and gradients of the first sequences to a file."""
    peer, work = session.peer, session.work
    x, y = work.x[:CHECKED], work.y[:CHECKED]
    found: dict[str, Array] = {}
    if callable(peer.predict):
        found["probabilities"] = peer.predict(x)
    if peer.gradients is not None:
        found |= peer.gradients(x, y)
    np.savez(Path(path), **found)


def _verify(session: _Session) -> str | None:
    return session.peer.verify() if session.peer.verify else None


def _calls(session: _Session, size: int, seconds: float) -> float | str:
    """Return the median time of the predictions of a while; or why there are none."""
    predict = session.peer.predict
    if isinstance(predict, str):
        return predict
    x = session.work.sequences(size)
    times: list[float] = []
    end = perf_counter() + seconds
    while not times or perf_counter() < end:
        start = perf_counter()
        predict(x)
        times.append(perf_counter() - start)
    return statistics.median(times)
