"""The same command on two Slurm nodes, interrupted in every way; on a Slurm of the test's own."""

import csv
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from interrupting import HOOKS, assert_same_run, environment, strike
from test_processes import RUN, UNEVEN, assert_close_runs, fit

ROOT = Path(__file__).parent.parent
CLUSTER = ROOT / "scripts" / "local_slurm.sh"
PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch")
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
MISSING = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed: {', '.join(MISSING)}"),
]

EPOCH = 25
JOB_SECONDS = 240  # a job that takes longer hangs
DROPOUT = ("--model.dropout", "0.2", "--checkpoint.every_n_steps", "7")

Submit = Callable[..., str]


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """Bring a two-node Slurm up; return the environment in which its commands find it."""
    directory = tempfile.mkdtemp(prefix="slurm-", dir="/tmp")  # socket paths must be short
    settings = {"SLURM_LOCAL_DIR": directory, "SLURM_LOCAL_PORT": str(_free_ports(3)), "PATH": PATH}
    slurm = environment() | settings
    subprocess.run([CLUSTER, "up"], env=slurm, check=True, capture_output=True, timeout=120)
    try:
        yield slurm | {"SLURM_CONF": f"{directory}/slurm.conf"}
    finally:
        subprocess.run([CLUSTER, "down"], env=slurm, capture_output=True, timeout=120)
        shutil.rmtree(directory, ignore_errors=True)


def _free_ports(count: int) -> int:
    """Return the first of some neighbouring ports that are free."""
    while True:
        first = random.randrange(20000, 30000)
        with socket.socket() as probe:
            if all(probe.connect_ex(("127.0.0.1", first + i)) for i in range(count)):
                return first


@pytest.fixture
def submit(cluster: dict[str, str]) -> Submit:
    """Run scripts/train.sbatch to its end, however often it is requeued; return its log."""

    def run(*options: object, out: str = "out", code: int = 0, **variables: str) -> str:
        job_environment = cluster | {"GRULIGHT_OUT": str(Path(out).absolute())} | variables
        command = ["sbatch", "--parsable", ROOT / "scripts" / "train.sbatch", *UNEVEN[1:]]
        submitted = subprocess.run(
            [*map(str, command), *map(str, options)],
            env=job_environment, check=True, capture_output=True, text=True,
        )  # fmt: skip
        job = submitted.stdout.strip()
        found = _wait_for(job, cluster)
        log = Path(f"grulight-{job}.log").read_text()
        assert found == ("COMPLETED" if code == 0 else "FAILED"), log
        return log

    return run


def _wait_for(job: str, cluster: dict[str, str]) -> str:
    """Return the state that a job ends in; start it at once whenever it was requeued."""
    end = time.monotonic() + JOB_SECONDS
    held_since = None
    while time.monotonic() < end:
        show = ["scontrol", "-o", "show", "job", job]
        shown = subprocess.run(show, env=cluster, capture_output=True, text=True).stdout
        state = dict(field.partition("=")[::2] for field in shown.split()).get("JobState", "")
        if state in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"):
            return state
        held_since = held_since or time.monotonic() if state == "PENDING" else None
        if held_since and time.monotonic() - held_since > 3:  # Slurm would wait for two minutes
            update = ["scontrol", "update", f"JobId={job}", "StartTime=now"]
            subprocess.run(update, env=cluster, capture_output=True)
            held_since = None
        time.sleep(0.5)
    subprocess.run(["scancel", "--signal=KILL", "--full", job], env=cluster)
    raise AssertionError(f"job {job} did not end")


@pytest.fixture(scope="module")
def uninterrupted(cluster: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run of two processes with dropout that nothing interrupted."""
    root = tmp_path_factory.mktemp("uninterrupted")
    fit(*DROPOUT, "--trainer.devices", 2, "--trainer.default_root_dir", root)
    return root / RUN


def moments(draw: random.Random) -> list[int]:
    """Return a step within each of the five epochs, well before its end."""
    return [epoch * EPOCH + draw.randrange(8, EPOCH - 7) for epoch in range(5)]


def test_two_nodes_train_and_count_as_one_process(submit: Submit, run: Callable[..., str]) -> None:
    log = submit()
    assert log.count("test (201 sequences)") == 1
    run(*UNEVEN, "--trainer.default_root_dir", "one")
    assert_close_runs("out" / RUN, "one" / RUN)


def test_preempted_at_five_random_moments_it_loses_nothing(
    submit: Submit, uninterrupted: Path
) -> None:
    draw = random.Random(1)
    hook = draw.choice(HOOKS[:3])
    log = submit(*DROPOUT, *strike(moments(draw), "SIGUSR1", hook, rank=draw.randrange(2)))
    assert log.count("goes on from the newest checkpoint") == 5
    assert_same_run("out" / RUN, uninterrupted)


def test_a_process_killed_at_five_random_moments_is_replaced(
    submit: Submit, uninterrupted: Path
) -> None:
    draw = random.Random(2)
    killed = strike(moments(draw), "SIGKILL", draw.choice(HOOKS[:3]), rank=1)
    log = submit(*DROPOUT, *killed, GRULIGHT_CRASHES="9")
    assert "crash 5 of 9" in log
    assert_same_run("out" / RUN, uninterrupted)


def test_a_job_killed_at_five_random_moments_is_submitted_again(
    submit: Submit, uninterrupted: Path
) -> None:
    draw = random.Random(3)
    killed = strike(moments(draw), "JOB", draw.choice(HOOKS[:3]))
    for attempt in range(5):
        with pytest.raises(AssertionError):
            submit(*DROPOUT, *killed, ATTEMPT=str(attempt))
    submit(*DROPOUT, *killed, ATTEMPT="5")
    assert_same_run("out" / RUN, uninterrupted)


def test_a_job_that_always_crashes_is_given_up(submit: Submit) -> None:
    log = submit(*strike([1, 1, 1], "SIGKILL"), code=1, GRULIGHT_CRASHES="2")
    assert "crash 2 of 2" in log
    assert "given up" in log


TRIALS = 12
TUNE = (
    *("--search.model.hidden_size", "int(2, 6, log)"),
    *("--search.optimizer.lr", "float(1e-3, 1e-1, log)"),
    *("--sampler", "random", "--pruner", "none", "--data.train_size", "80"),
    *("--trainer.max_epochs", "600", "--trials", str(TRIALS)),  # long enough to be struck
)


def _slurm(cluster: dict[str, str], *command: object) -> str:
    done = subprocess.run([*map(str, command)], env=cluster, capture_output=True, text=True)
    return done.stdout.strip()


def _states(study: Path) -> list[str]:
    pytest.importorskip("optuna", reason="needs the extra tune")
    from optuna import load_study
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(study / "journal.log")))
    return [trial.state.name for trial in load_study(study_name="grulight", storage=storage).trials]


def _until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + JOB_SECONDS
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.5)


def _release(job: str, cluster: dict[str, str]) -> bool:
    """Start requeued tasks of an array at once; return whether all have ended."""
    lines = _slurm(cluster, "scontrol", "-o", "show", "job", job).splitlines()
    tasks = [dict(field.partition("=")[::2] for field in line.split()) for line in lines]
    for task in tasks:
        if task["JobState"] == "PENDING" and int(task.get("Restarts", 0)):
            name = f"{job}_{task['ArrayTaskId']}"
            _slurm(cluster, "scontrol", "update", f"JobId={name}", "StartTime=now")
    return all(task["JobState"] in ("COMPLETED", "FAILED", "CANCELLED") for task in tasks)


def _kill_a_worker(study: Path) -> bool:
    """Kill a worker that has a trial; return whether there was one."""
    for path in (study / "workers").glob("*"):
        number = int(path.name.rpartition("-")[0].rpartition("-")[2])
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue
        return True
    return False


def test_an_array_shares_a_study_preempted_and_killed(
    cluster: dict[str, str], run: Callable[..., str]
) -> None:
    study = Path("study").absolute()
    job = _slurm(
        cluster | {"GRULIGHT_STUDY": str(study)},
        *("sbatch", "--parsable", "--array=0-2", ROOT / "scripts" / "tune.sbatch", *TUNE),
    )
    _until((study / "journal.log").is_file, "no worker began")
    _until(lambda: "COMPLETE" in _states(study), "no trial was finished")
    urgent = _slurm(cluster, "sbatch", "--parsable", "--partition=urgent", "--wrap", "sleep 2")
    ended = ("scontrol", "-o", "show", "job", urgent)
    _until(lambda: "JobState=COMPLETED" in _slurm(cluster, *ended), "it did not come first")
    _until(lambda: "RUNNING" in _states(study), "nobody works")
    assert _kill_a_worker(study)
    _until(lambda: _release(job, cluster), f"array {job} did not end")
    logs = "".join(path.read_text() for path in Path().glob(f"grulight-tune-{job}_*.log"))
    states = _states(study)
    assert (states.count("COMPLETE"), "RUNNING" in states) == (TRIALS, False), logs
    assert states.count("FAIL") >= 1
    assert "crash 1 of 3" in logs
    assert logs.count("test (920 sequences)") == 1
    run("tune", *TUNE, "--workers", 1, "--study", "alone")
    rows = [
        list(csv.DictReader((each / "trials.csv").read_text().splitlines()))
        for each in (study, Path("alone"))
    ]
    assert rows[0] == rows[1]


def test_bad_input_ends_a_job_at_once(submit: Submit) -> None:
    log = submit("--data.batch_size", 1, code=2)
    assert "2 of them cannot share it" in log
    assert "crash" not in log
