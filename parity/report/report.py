"""Show a result: a table on the terminal, one self-contained HTML page."""

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from grulight.trace.templates import write_template
from parity.report import charts
from parity.result import Result, Verdict
from parity.rungs import TITLES, worst_of
from parity.tolerances import FLOAT32_FLOORS, FLOAT64_BOUND

COLOURS: dict[Verdict, str] = {"the same": "green", "different": "red", "could not tell": "yellow"}

MARKS = {
    (True, False): "[green]same[/]",
    (False, False): "[red]different[/]",
    (False, True): "[yellow]undecided[/]",
}


def print_result(result: Result, console: Console) -> None:
    """Print rungs, controls and the verdict."""
    console.print(f"{result.target}: ours {result.ours}; theirs {result.theirs}", highlight=False)
    for note in result.notes:
        console.print(f"Note: {note}", highlight=False)
    console.print(_rung_table(result), _control_table(result))
    if result.implementations:
        console.print(_implementation_table(result))
    for each in result.equivalences:
        shown = "equivalent" if each.shown else "not shown"
        console.print(
            f"rung 6, {each.quantity}: means differ by {each.difference:+.4f}, margin "
            f"{each.margin:.4f} (one deviation between Keras' seeds), p {each.p:.1e}: {shown}",
            highlight=False,
        )
    colour = COLOURS[result.verdict]
    console.print(f"[bold {colour}]{result.words}[/]: ", end="")
    console.print(f"{result.reason} ({result.seconds:.0f} s)", markup=False, highlight=False)
    for limit in result.limits:
        console.print(f"Not covered: {limit.what}.", markup=False, highlight=False)


def write_page(result: Result, path: str | Path) -> None:
    """Write one HTML page that needs nothing else."""
    write_template(
        path,
        Path(__file__).parent / "report.html.j2",
        result=result,
        rungs=worst_of(result.findings),
        titles=TITLES,
        floors=FLOAT32_FLOORS,
        bound64=FLOAT64_BOUND,
        curves=[charts.curve_chart(dtype, *both) for dtype, both in result.curves.items()],
        profiles=[charts.profile_chart(label, steps) for label, steps in result.profiles.items()],
        samples=[
            charts.sample_chart(e.quantity, e.ours.tolist(), e.theirs.tolist())
            for e in result.equivalences
        ],
        text=floor_text,
    )


def floor_text(relative: float, floor: float | None, bound: float) -> str:
    """Say how large a difference is against what is allowed."""
    if bound == 0.0:
        return "bit for bit"
    if floor is None or bound < FLOAT32_FLOORS * floor or not np.isfinite(relative):
        return f"at most {bound:.0e}"
    return f"{relative / floor:.1f} of {FLOAT32_FLOORS:.0f} floors"


def _rung_table(result: Result) -> Table:
    table = Table("rung", "dtype", "worst", "allowed", "in", "", box=None)
    for finding in worst_of(result.findings):
        difference = finding.difference
        table.add_row(
            f"{finding.rung} {TITLES[finding.rung]}",
            finding.dtype,
            f"{difference.relative:.1e}",
            floor_text(difference.relative, finding.floor, finding.bound),
            difference.tensor if difference.relative else "",
            MARKS[finding.same, finding.undecided],
        )
    return table


def _control_table(result: Result) -> Table:
    table = Table("wrong port", "seen at", "times the bound", "", box=None)
    for each in result.controls:
        table.add_row(
            each.control.name,
            f"rung {each.rung} {TITLES[each.rung]}",
            f"{each.factor:.0e}",
            "[green]caught[/]" if each.caught else "[red]not caught[/]",
        )
    return table


def _implementation_table(result: Result) -> Table:
    table = Table("implementation", "dtype", "off the reference", "allowed", "", box=None)
    for each in result.implementations:
        verdict = "[green]same[/]" if each.same else "[red]different[/]"
        allowed = floor_text(each.relative, each.floor, each.bound)
        table.add_row(each.name, each.dtype, f"{each.relative:.1e}", allowed, verdict)
    return table
