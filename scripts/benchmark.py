"""Time grulight beside its peers: the same work, each in its own process, in turns.

A peer's outputs and gradients are compared with the float64 reference before it is timed; one that
computes something else gets no time. A peer that is not installed is left out, with the reason.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from peers import options as option_suite
from peers import programs, report, suites, tuning
from peers.benchmark_state import Benchmark
from peers.claims import CLAIMS, judged
from peers.oracle import CUDNN_FLOORS
from peers.peer_process import PEERS
from rich.console import Console

from grulight.files import written_whole

SUITES = (
    *("epoch", "options", "latency", "growth", "cold", "memory", "scaling"),
    *("gpu", "gpu-epoch", "tune"),
)
PARTS = ("gpu-fit",)  # of a suite


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suites that were asked for; return 1 where something that must hold does not."""
    options = _parser().parse_args(arguments)
    chosen = options.suites or SUITES
    console = Console()
    bench = Benchmark(options.peers, options.rounds, options.threads, console, options.largest)
    machine = report.hardware(options.threads)
    tables, sentences = measured(bench, chosen, options.trials)
    verdicts = [
        each
        for claim in (*CLAIMS, *option_suite.claims())
        if (each := judged(claim, bench.results))
    ]
    verdicts += suites.linearity(bench)
    if verdicts:
        tables.append(report.verdicts(verdicts))
    sentences = [*machine, *_versions(bench), *report.reasons(bench.results), *sentences]
    for table in tables:
        table.print(console)
    console.print("\n".join(sentences), markup=False, highlight=False)
    with written_whole(options.output / "benchmark.md") as path:
        parts = ["# Benchmark\n", *(f"- {each}" for each in sentences), ""]
        path.write_text("\n".join([*parts, *(table.markdown() for table in tables)]))
    if bench.results:
        with written_whole(options.output / "benchmark.png") as path:
            report.picture(bench.results, path)
    console.print(f"table and picture: {options.output}", highlight=False)
    return 1 if any(each.holds is False for each in verdicts) else 0


def measured(
    bench: Benchmark, chosen: Sequence[str], trials: int
) -> tuple[list[report.Table], list[str]]:
    """Run suites; return their tables and what is to be said besides."""
    sentences: list[str] = []
    parameters: dict[str, int] = {}
    for suite in ("epoch", "latency", "growth"):
        if suite in chosen:
            getattr(suites, suite)(bench)
    if "options" in chosen:
        option_suite.options(bench)
    wanted = [suite for suite in ("cold", "memory") if suite in chosen]
    if wanted:
        programs.programs(bench, wanted)
    if "scaling" in chosen:
        parameters = suites.scaling(bench)
    if "gpu" in chosen:
        sentences += suites.gpu(bench)
    elif "gpu-fit" in chosen:
        sentences += suites.gpu_fit(bench)
    if "gpu-epoch" in chosen:
        sentences += suites.gpu_epochs(bench)
    if "tune" in chosen:
        sentences += tuning.tune(bench, trials)
    names = dict.fromkeys(suite for suite, _, _ in bench.results if suite != "scaling")
    tables = [report.figures(bench.results, name) for name in names]
    if parameters:
        tables.append(report.scaling(bench.results, parameters))
    return tables, sentences


def _versions(bench: Benchmark) -> list[str]:
    """Say what was compared, how far it was off, and in which versions."""
    versions = ", ".join(dict.fromkeys(", ".join(bench.versions.values()).split(", ")))
    off = ", ".join(f"{name} {floors:.1f}" for name, floors in bench.off.items())
    said = [f"{bench.rounds} rounds in random order after a warm-up"]
    if versions:
        said.append(versions)
    if off:
        said.append(
            "checked before timing, in multiples of float32's noise, at most 8 (cuDNN's GRU, which "
            f"approximates, at most {CUDNN_FLOORS:.0f}): {off}"
        )
    return said


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", type=_suite,
                        help=f"what is measured (default: all of {', '.join(SUITES)})")  # fmt: skip
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="PEER",
                        help=f"which take part (default: all): {', '.join(PEERS)}")  # fmt: skip
    parser.add_argument("--rounds", type=_positive, default=7, help="measurements (default: 7)")
    parser.add_argument("--threads", type=_positive, default=1, help="of each peer (default: 1)")
    parser.add_argument("--largest", type=_positive, default=1_000_000,
                        help="sequences beyond which nothing is measured")  # fmt: skip
    parser.add_argument("--trials", type=_positive, default=40,
                        help="of each study that `tune` times (default: 40)")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, default=Path("build/benchmark"),
                        help="directory of table and picture (build/benchmark)")  # fmt: skip
    return parser


def _suite(text: str) -> str:
    if text not in SUITES + PARTS:
        raise argparse.ArgumentTypeError(f"{text!r}: choose from {', '.join(SUITES + PARTS)}")
    return text


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    raise SystemExit(main())
