"""``grulight tune``: many trainings, the best settings, and a model trained with them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from grulight.commands import fit
from grulight.commands.console import open_console
from grulight.commands.lightning_messages import silence_expected_warnings
from grulight.commands.trials import PAUSE, show, work
from grulight.commands.tune_cli import TuneCLI
from grulight.errors import InputError
from grulight.files import written_whole
from grulight.runs.run_directory import RUNS
from grulight.runs.signals import EXIT_CODE, asked
from grulight.tuning.conclusion import conclude, take_conclusion
from grulight.tuning.finals import Finals, finals_of, winner
from grulight.tuning.page import write_study_page
from grulight.tuning.study import Study, place_of
from grulight.tuning.table import finals_line, trial_line, trials_csv
from grulight.tuning.workers import registered

_WORKER = "GRULIGHT_TUNE_WORKER"  # set for the processes that a study starts


def run(arguments: list[str]) -> None:
    """Search settings, then train and test once with the best."""
    silence_expected_warnings()
    console = open_console()
    cli = TuneCLI(arguments, console)
    is_helper = bool(os.environ.get(_WORKER))
    if is_helper:
        console.quiet = True
    else:
        cli.check_spaces()
        if cli.config["seeds"] != 1:
            fit.require_seeds(cli.config, cli.whole.test)
    study = cli.open_study()
    count = 1 if is_helper else min(cli.config["workers"] or _cores(), cli.config["trials"])
    with registered(study.directory) as name:
        if count == 1:
            work(cli, study, name)
        else:
            _employ(arguments, count, study, console)
        if (finals := finals_of(study, cli.config)) is not None:
            work(cli, finals, name)  # with several workers, what is left of them
        if not is_helper:
            _conclude(cli, study, finals, name)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _employ(arguments: Sequence[str], count: int, study: Study, console: Console) -> None:
    """Let processes of this machine work on the study, and show each trial that finishes."""
    command = [sys.executable, "-m", "grulight", "tune", *arguments, "--workers=1"]
    threads = str(max(1, _cores() // count))
    environment = os.environ | {_WORKER: "1", "OMP_NUM_THREADS": threads}
    with _deaf_to_interrupts():
        workers = [subprocess.Popen(command, env=environment) for _ in range(count)]
    shown = 0
    try:
        while any(worker.poll() is None for worker in workers):
            if asked():
                raise SystemExit(EXIT_CODE)
            shown = show(study, shown, console)
            time.sleep(PAUSE)
    except BaseException:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()
        raise
    show(study, shown, console)
    codes = [worker.returncode for worker in workers]
    if EXIT_CODE in codes:
        raise SystemExit(EXIT_CODE)
    if len(study.finished) < study.trials and any(codes):
        raise InputError(
            f"{study.directory}: {len(study.finished)} of {study.trials} trials are finished, and "
            "all workers have ended; their lines are above. Start again to go on."
        )


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let what is started here ignore Ctrl-C, which a terminal sends to all: we end them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _conclude(cli: TuneCLI, study: Study, finals: Finals | None, name: str) -> None:
    """Write what the study found; train and test once with the best settings."""
    best, finished = winner(study, finals), len(study.finished)
    trials_csv(study, study.directory / "trials.csv", finals)
    with written_whole(study.directory / "best.yaml") as temporary:
        temporary.write_text(cli.settings_of_fit(best.params), encoding="utf-8")
    page, objective = study.directory / "study.html", cli.config["objective"]
    write_study_page(study, page, objective, cli.class_names, finals)
    lines = [f"best: {trial_line(best, study)}"]
    if finals is not None:
        lines.insert(0, finals_line(finals))
    if finished < study.trials:
        lines.append(f"{finished} of {study.trials} trials are finished: start again to go on")
    mine = finished >= study.trials and take_conclusion(study, name, place_of(best))
    if finished >= study.trials and not mine:
        lines.append(f"trained already, or by another worker: {study.directory}/{RUNS}")
    for line in lines:
        cli.console.print(line, markup=False, highlight=False, soft_wrap=True)
    if mine:
        where = f"--trainer.default_root_dir={study.directory}"
        fit.run([f"--config={study.directory / 'best.yaml'}", where])
        conclude(study, place_of(best))
