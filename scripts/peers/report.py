"""What was measured as tables: in the terminal, in Markdown, and as a picture."""

import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from peers.claims import Results, Verdict
from peers.peer_process import Sample
from rich.console import Console
from rich.table import Table as RichTable

# suite -> unit, and how many of it are one second or byte
UNITS = {
    "epoch": ("ms", 1e3),
    "options": ("ms", 1e3),
    "latency": ("µs", 1e6),
    "cold": ("s", 1.0),
    "memory": ("MB", 1e-6),
    "gpu": ("ms", 1e3),
    "gpu fit": ("ms", 1e3),
    "gpu idle": ("%", 100.0),
    "gpu-epoch": ("ms", 1e3),
    "tune": ("s", 1.0),
}
GROWTH = ("ms", 1e3)
WIDEST = 8  # columns that a terminal has room for


@dataclass(frozen=True)
class Table:
    """A table with its heading."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return f"## {self.title}\n\n{body}\n"

    def print(self, console: Console) -> None:
        """Show the table in a terminal."""
        console.print(self.title, style="bold", highlight=False)
        table = RichTable(*self.header, box=None)
        for row in self.rows:
            table.add_row(*row)
        console.print(table, markup=False)


def figures(results: Results, suite: str) -> Table:
    """Return a suite's peers by its cases: median, minimum, distance of the quartiles."""
    unit, factor = UNITS.get(suite, GROWTH)
    cases = list(dict.fromkeys(case for s, case, _ in results if s == suite))
    peers = list(dict.fromkeys(peer for s, _, peer in results if s == suite))
    rows = [
        [peer, *(_cell(results.get((suite, case, peer)), factor) for case in cases)]
        for peer in peers
    ]
    title = f"{suite}: median in {unit} (minimum, distance between the quartiles)"
    header = ["peer", *cases]
    if len(cases) > WIDEST:
        header, *rows = map(list, zip(header, *rows, strict=True))
    return Table(title, header, rows)


def _cell(sample: Sample | None, factor: float) -> str:
    if sample is None:
        return ""
    if not sample.values:
        return sample.note.partition(":")[0]
    median, least = (_number(each * factor) for each in (sample.median, min(sample.values)))
    return median if len(sample.values) == 1 else f"{median} ({least}, {sample.spread:.0%})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def reasons(results: Results) -> list[str]:
    """Say why a peer has no figure, once for each reason."""
    found = {f"{peer}: {sample.note}": None for (_, _, peer), sample in results.items()
             if ":" in sample.note}  # fmt: skip
    return list(found)


def verdicts(judged: Iterable[Verdict]) -> Table:
    """Return what must hold, and whether it does."""
    rows = []
    for each in judged:
        ratio = "" if each.ratio is None else f"{each.ratio:.3f}"
        holds = {True: "holds", False: "FAILS", None: f"unknown: {each.note}"}[each.holds]
        rows.append([each.claim.words, ratio, f"{each.claim.at_most:g}", holds])
    return Table("What must hold: ratios of medians", ["claim", "ratio", "at most", ""], rows)


def scaling(results: Results, cases: Mapping[str, int]) -> Table:
    """Return efficiency of two ranks for each case, given its number of parameters."""
    header = [
        "hidden, batch",
        "parameters",
        "bytes per step",
        "1 rank",
        "2 ranks",
        "efficiency",
        "",
    ]
    rows = []
    for case, parameters in cases.items():
        one, two = (results[("scaling", case, name)] for name in ("1 rank", "2 ranks"))
        sizes = [f"{parameters:,}", f"{4 * parameters:,}"]  # float32
        row = [case, *sizes, _cell(one, 1e3), _cell(two, 1e3)]
        if one.values and two.values:
            gain = one.median / two.median
            row += [f"{gain / 2:.2f}", "pays" if gain > 1 else "does not pay"]
        rows.append(row + [""] * (len(header) - len(row)))
    return Table(
        "scaling: an epoch of `grulight fit` in ms, and what each step all-reduces (gloo)",
        header,
        rows,
    )


def hardware(threads: int) -> list[str]:
    """Say what was measured on, and how busy it was."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(": ")[2] if names else cpu
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return [
        f"{cpu}, {os.cpu_count()} cores, {threads} thread(s) for each peer; load average {load}",
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"numpy {version('numpy')}",
    ]


def picture(results: Results, path: Path) -> None:
    """Draw each suite: bars for single cases, lines where a case is a size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    suites = list(dict.fromkeys(suite for suite, _, _ in results))
    columns = min(3, len(suites))
    figure, axes = pyplot.subplots(
        math.ceil(len(suites) / columns),
        columns,
        figsize=(5.5 * columns, 3.6 * math.ceil(len(suites) / columns)),
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat[len(suites) :]:
        axis.remove()
    for suite, axis in zip(suites, axes.flat, strict=False):
        unit, factor = UNITS.get(suite, GROWTH)
        medians: dict[str, dict[str, float]] = {}
        for (name, case, peer), sample in results.items():
            if name == suite and sample.values:
                medians.setdefault(peer, {})[case] = sample.median * factor
        _draw(axis, medians)
        axis.set_title(f"{suite} [{unit}]", loc="left")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _draw(axis, medians: Mapping[str, Mapping[str, float]]) -> None:  # noqa: ANN001 - matplotlib's
    cases = list(dict.fromkeys(case for each in medians.values() for case in each))
    if len(cases) > 1 and all(case.isdigit() for case in cases):
        for peer, each in medians.items():
            axis.plot([int(case) for case in each], list(each.values()), "o-", ms=3, label=peer)
        axis.set(xscale="log", yscale="log")
        axis.legend(fontsize=7)
        return
    bars = {
        peer if len(cases) == 1 else f"{peer}, {case}": value
        for peer, each in medians.items()
        for case, value in each.items()
    }
    drawn = axis.barh(list(bars), list(bars.values()))
    axis.bar_label(drawn, fmt=_number, fontsize=7, padding=2)
    axis.margins(x=0.12)
    if max(bars.values()) > 10 * min(bars.values()):  # else bars from zero say more
        axis.set_xscale("log")
    axis.invert_yaxis()
    axis.tick_params(axis="y", labelsize=7)
