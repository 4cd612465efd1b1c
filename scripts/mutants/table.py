"""What was found, as the table of a README."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

START, END = "<!-- mutation.py: -->", "<!-- :mutation.py -->"


def table(
    mutants: Sequence[Any], found: Mapping[str, Mapping[str, Any]], changed: Collection[str] = ()
) -> str:
    """Return a row for each part: how many bugs, who noticed them, and which the proof let through.

    Args:
        mutants: All of them.
        found: By name, the exit codes of `check` and `tests`; None where not run.
        changed: The names of those whose source or tests are no longer as when they were tried.
    """
    lines = ["| part | bugs | `parity check` | tests | nobody | passed `parity check` |"]
    lines += ["|---|---|---|---|---|---|"]
    total = [m for m in mutants if m.name in found]
    for part in dict.fromkeys(m.part for m in total):
        lines.append(_row(part, [m for m in total if m.part == part], found))
    port = [m for m in total if m.arithmetic]
    lines.append(_row("all", total, found, named=False))
    lines.append(_row("of these, the port's arithmetic", port, found, named=False))
    if left := len(mutants) - len(total):
        lines.append(f"\n{left} more are listed and were not tried.")
    results = [found[m.name] for m in total]
    days = ", ".join(dict.fromkeys(str(each["day"]) for each in results if each.get("day")))
    said = f"{len(total)} of {len(mutants)} tried with `python scripts/mutation.py` on {days}"
    if trusted := len(total) - sum(bool(each.get("sound")) for each in results):
        said += f"; {trusted} with `--trust`, so without a look at whether all passes without a bug"
    if old := sum(m.name in changed for m in total):
        said += f"; {old} on an earlier source: their file or tests changed since, or may have"
    lines.append(f"\n{said}.")
    return "\n".join(lines)


def _row(part: str, own: Sequence[Any], found: Mapping[str, Any], named: bool = True) -> str:
    asked = [m for m in own if m.check and found[m.name]["check"] is not None]
    by_check = [m for m in asked if found[m.name]["check"]]
    by_tests = [m for m in own if found[m.name]["tests"]]
    nobody = [m for m in own if m not in by_check and m not in by_tests]
    passed = "; ".join(m.name for m in asked if m not in by_check) if named else ""
    proof = f"{len(by_check)} of {len(asked)}" if asked else "–"
    return f"| {part} | {len(own)} | {proof} | {len(by_tests)} | {len(nobody)} | {passed} |"


def into_readme(path: Path, text: str) -> None:
    """Put the table between its marks."""
    held = f"{START}\n\n{text}\n\n{END}"
    whole = re.sub(
        f"{re.escape(START)}.*{re.escape(END)}", lambda _: held, path.read_text(), flags=re.S
    )
    path.write_text(whole)
