import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest
import torch

SCRIPTS = Path(__file__).parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))

import benchmark  # noqa: E402 - the scripts are no package
from peers import gpu_fits, oracle, peer_process, report, suites, tuning  # noqa: E402
from peers import options as option_suite  # noqa: E402
from peers.claims import Claim, judged, linear  # noqa: E402
from peers.peer_process import Process, Sample, Skipped  # noqa: E402
from peers.work import Work, draw, load, save  # noqa: E402

OURS, THEIRS = ("epoch", "default", "grulight"), ("epoch", "default", "jax")


@pytest.fixture(scope="module")
def work() -> Work:
    return draw(sequences=96, steps=4, hidden=8)


@pytest.fixture
def work_file(work: Work, tmp_path: Path) -> Path:
    save(work, tmp_path / "work.npz")
    return tmp_path / "work.npz"


@pytest.mark.parametrize(("at_most", "holds"), [(0.5, True), (0.49, False)])
def test_claim_is_a_ratio_of_medians_with_its_bound_included(at_most: float, holds: bool) -> None:
    results = {OURS: Sample((1.0, 2.0, 90.0)), THEIRS: Sample((4.0, 4.0, 0.1))}
    verdict = judged(Claim("claim", OURS, THEIRS, at_most), results)
    assert verdict is not None
    assert verdict.ratio == 0.5
    assert verdict.holds is holds


def test_claim_about_a_peer_without_a_time_is_unknown_not_true() -> None:
    claim = Claim("claim", OURS, THEIRS, 1.0)
    refused = judged(claim, {OURS: Sample((1.0,)), THEIRS: Sample(note="refused: far off")})
    absent = judged(claim, {OURS: Sample((1.0,))})
    assert refused is not None
    assert absent is not None
    assert (refused.holds, absent.holds) == (None, None)
    assert judged(claim, {}) is None


def test_cost_that_grows_faster_than_its_size_fails() -> None:
    assert linear("even", {10: 1.0, 100: 10.9}).holds
    assert not linear("steep", {10: 1.0, 100: 11.1, 1000: 100.0}).holds
    assert not linear("hidden by the first call", {10: 9.0, 100: 10.0, 1000: 120.0}).holds


def test_a_trial_takes_the_time_between_two_that_finish() -> None:
    moments = (100.0, 109.0, 111.0, 113.0, 115.0)  # the first of two workers, with their imports
    finished = [tuning.Finished(at, 0.3) for at in moments]
    assert tuning.seconds_per_trial(finished[::-1]) == pytest.approx(2.0)
    with pytest.raises(Skipped, match=r"refused: 2 trials"):
        tuning.seconds_per_trial(finished[:2])
    with pytest.raises(Skipped, match=r"refused: the best validation loss is 1\.100"):
        tuning.seconds_per_trial([each._replace(value=1.1) for each in finished])


def test_spread_is_the_distance_of_the_quartiles() -> None:
    assert Sample((1.0, 2.0, 3.0, 4.0, 5.0)).spread == pytest.approx(2 / 3)


def test_work_comes_back_from_its_file_and_repeats_beyond_what_is_distinct(tmp_path: Path) -> None:
    first = draw(sequences=900, steps=3, hidden=4, batch=100)
    save(first, tmp_path / "work.npz")
    again = load(tmp_path / "work.npz")
    assert again.batch == 100
    np.testing.assert_array_equal(again.x, first.x)
    np.testing.assert_array_equal(again.y[800:], first.y[:100])
    assert {array.dtype for array in again.weights.values()} == {np.dtype("float32")}


@pytest.mark.parametrize("name", ["probabilities", "gru.weight_hh_l0"])
def test_wrong_kernel_is_refused_and_a_right_one_is_not(work: Work, name: str) -> None:
    right = oracle.truth_of(work)
    answer = {key: array.astype(np.float32) for key, array in right.exact.items()}
    assert right.checked(answer) < 1
    answer[name] = answer[name] * np.float32(1.0001)
    with pytest.raises(Skipped, match=f"refused: .* noise floors off.*{name}"):
        right.checked(answer)


def test_answer_that_is_empty_or_misshapen_is_refused(work: Work) -> None:
    right = oracle.truth_of(work)
    for answer in ({}, {"probabilities": np.zeros((2, 3))}):
        with pytest.raises(Skipped, match="refused"):
            right.checked(answer)


def bench(rounds: int = 1) -> benchmark.Benchmark:
    return benchmark.Benchmark(["torch"], rounds, 1, benchmark.Console(quiet=True))


def test_refused_peer_gets_no_time(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = oracle.truth_of(work)
    wrong.exact["probabilities"][0, 0] += 1e-3
    monkeypatch.setattr("peers.benchmark_state.truth_of", lambda _: wrong)
    refused = bench()
    refused.measure(work, refused.peers, {("epoch", "default"): peer_process.epochs})
    sample = refused.results["epoch", "default", "torch"]
    assert not sample.values
    assert sample.note.startswith("refused")


PEER = """
from peer_server import Peer, boundary, serve
def train():
    while True:
        boundary()
serve(lambda work, _: Peer("1.0", train=train, verify=lambda: "it ends elsewhere"))
"""


@pytest.fixture
def peer(work_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    monkeypatch.setattr(peer_process, "HERE", work_file.parent)
    (work_file.parent / "peer.py").write_text(PEER)
    env = peer_process.environment(1) | {"PYTHONPATH": str(SCRIPTS / "peers")}
    with Process(("peer.py",), work_file, env) as process:
        yield process


def test_training_gives_as_many_epochs_as_asked_for_and_waits_in_between(peer: Process) -> None:
    assert [len(peer.ask(do="epochs", count=count)) for count in (2, 3, 1)] == [2, 3, 1]
    assert peer.ask(do="calls", size=1, seconds=0) == "does not predict"


def test_training_that_ends_elsewhere_gets_no_time(peer: Process) -> None:
    with pytest.raises(Skipped, match="refused: it ends elsewhere"):
        peer_process.epochs(peer)


def test_missing_package_is_the_reason_for_a_missing_figure(
    work_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_process, "HERE", work_file.parent)
    (work_file.parent / "peer.py").write_text("import no_such_package")
    with pytest.raises(Skipped, match="not installed: no_such_package"):
        Process(("peer.py",), work_file, peer_process.environment(1))


def test_one_peer_is_timed_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Work
) -> None:
    monkeypatch.setattr(suites, "draw", lambda: work)
    monkeypatch.setattr(peer_process, "SPAN", 0.0)
    monkeypatch.setattr(suites, "LATENCIES", (1, 8))
    options = ["latency", "--peers", "torch", "--rounds", "2", "-o", str(tmp_path / "out")]
    assert benchmark.main(options) == 0
    text = (tmp_path / "out" / "benchmark.md").read_text()
    assert "| peer | 1 | 8 |" in text
    assert "checked before timing" in text
    assert (tmp_path / "out" / "benchmark.png").stat().st_size > 1000


@pytest.mark.slow
def test_options_are_timed_beside_the_default_and_plain_lightning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Work
) -> None:
    chosen = {name: option_suite.OPTIONS[name] for name in ("two layers", "early stopping")}
    monkeypatch.setattr(option_suite, "OPTIONS", chosen)
    monkeypatch.setattr(option_suite, "draw", lambda: work)
    monkeypatch.setattr(peer_process, "SPAN", 0.0)
    timed = bench()
    timed.peers = {name: peer_process.PEERS[name] for name in ("grulight", "lightning")}
    option_suite.options(timed)
    verdicts = [judged(claim, timed.results) for claim in option_suite.claims()]
    assert len(verdicts) == 4
    assert all(verdict is not None and verdict.ratio for verdict in verdicts)


def test_many_cases_stand_below_each_other() -> None:
    cases = [f"option {n}" for n in range(report.WIDEST + 1)]
    table = report.figures(
        {("options", case, "grulight"): Sample((1.0,)) for case in cases}, "options"
    )
    assert table.header == ["peer", "grulight"]
    assert [row[0] for row in table.rows] == cases


def test_without_a_gpu_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "cuda_device", lambda: None)
    empty = bench()
    for suite in (suites.gpu, suites.gpu_fit, suites.gpu_epochs):
        assert suite(empty) == ["GPU rows are left out: torch finds no CUDA device."]
    assert not empty.results


def test_a_gpu_is_idle_where_its_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Epochs:
        def ask(self, do: str, count: int = 1) -> Any:
            sleep(0.2)
            return None if do == "verify" else [1.0] * count

    told = "for n in 0 0 0 0 0; do echo $n; done; while :; do echo 75; sleep 0.01; done"
    monkeypatch.setattr(gpu_fits, "SAMPLED", ("sh", "-c", told))
    measured = gpu_fits.idle(Epochs())()
    assert measured == 0.25
    monkeypatch.setattr(gpu_fits, "SAMPLED", ("no such program",))
    with pytest.raises(Skipped, match="not installed: no such program"):
        gpu_fits.idle(Epochs())()


def test_work_may_have_more_features() -> None:
    wide = draw(sequences=4, steps=3, hidden=6, features=8)
    assert wide.x.shape == (4, 3, 8)
    assert wide.weights["gru.weight_ih_l0"].shape == (18, 8)
    np.testing.assert_array_equal(wide.x[:, :, 5:], wide.x[:, :, :3])


def test_trainings_in_programs_take_the_right_gradients_and_orders_of_their_own(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    monkeypatch.syspath_prepend(SCRIPTS / "peers")  # a peer is a program of its own
    triton_programs = import_module("triton_programs")
    programs = triton_programs.Programs(work, 2, "cuda" if torch.cuda.is_available() else "cpu")
    truth = oracle.truth_of(work)
    assert truth.checked(programs.gradients(work.x[:32], work.y[:32])) < 8
    programs.epoch()
    assert programs.wrong() is None
    first, second = programs.losses.cpu()
    assert len(first) == 3
    assert not torch.equal(first, second)
    programs.losses[1, 2] = torch.nan
    assert programs.wrong() == "a loss is missing or not finite"


def test_reason_stands_once_beside_a_short_cell() -> None:
    results = {("latency", case, "jax"): Sample(note="not installed: jax") for case in ("1", "32")}
    assert report.reasons(results) == ["jax: not installed: jax"]
    assert report.figures(results, "latency").rows == [["jax", "not installed", "not installed"]]
