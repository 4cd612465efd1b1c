"""A result as plain values, and the file of `--json`."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from grulight.files import written_whole
from parity.control_findings import ControlFinding
from parity.result import EXIT_CODES, Result
from parity.rungs import TITLES, Finding, worst_of

FORMAT = 1


def write_json(result: Result, path: str | Path) -> None:
    """Write what ``as_json`` documents."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(as_json(result), indent=2, allow_nan=False) + "\n")


def as_json(result: Result) -> dict[str, Any]:
    """Return plain values for ``--json``; an infinite figure becomes null.

    Keys: ``format``; ``target``, ``weights_sha256``, ``ours``, ``theirs``, ``versions``,
    ``notes``, ``seconds``; ``verdict`` (the same, different, could not tell, or the same with
    what qualifies it) with ``exit_code``, ``reason`` and ``not_covered``;
    ``rungs``, one entry per rung and precision for the array nearest to its bound;
    ``controls``; ``implementations``; ``distribution``.
    """
    return {
        "format": FORMAT,
        "target": result.target,
        "weights_sha256": result.weights_sha256,
        "ours": result.ours,
        "theirs": result.theirs,
        "versions": dict(result.versions),
        "notes": result.notes,
        "not_covered": [each.what for each in result.limits],
        "verdict": result.words,
        "exit_code": EXIT_CODES[result.verdict],
        "reason": result.reason,
        "rungs": [_rung(finding) for finding in worst_of(result.findings)],
        "controls": [_control(control) for control in result.controls],
        "implementations": [
            {
                **vars(each),
                "relative": _number(each.relative),
                "floor": _number(each.floor),
                "same": each.same,
            }
            for each in result.implementations
        ],
        "distribution": [each.as_json() for each in result.equivalences],
        "seconds": round(result.seconds, 1),
    }


def _rung(finding: Finding) -> dict[str, Any]:
    difference = finding.difference
    return {
        "rung": finding.rung,
        "title": TITLES[finding.rung],
        "dtype": finding.dtype,
        "case": finding.case,
        "tensor": difference.tensor,
        "where": difference.where,
        "relative": _number(difference.relative),
        "absolute": _number(difference.absolute),
        "noise_floor": _number(finding.floor),
        "bound": finding.bound,
        "same": finding.same,
        "undecided": finding.undecided,
    }


def _control(each: ControlFinding) -> dict[str, Any]:
    return {
        "name": each.control.name,
        "mistake": each.control.description,
        "rung": each.rung,
        "case": each.case,
        "tensor": each.difference.tensor,
        "where": each.difference.where,
        "factor": _number(each.factor),
        "caught": each.caught,
    }


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None
