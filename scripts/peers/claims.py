"""What must hold, as ratios within one run, and whether it does."""

from collections.abc import Mapping
from dataclasses import dataclass

from peers.peer_process import Sample

# (suite, case, peer) -> what was measured
Results = Mapping[tuple[str, str, str], Sample]
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Claim:
    """One measurement is at most a share of another.

    Attributes:
        words: What is claimed.
        ours: Suite, case and peer.
        theirs: Likewise.
        at_most: The largest ratio of the medians.
    """

    words: str
    ours: Key
    theirs: Key
    at_most: float


@dataclass(frozen=True)
class Verdict:
    """What became of a claim; ``ratio`` is None where a side was not measured."""

    claim: Claim
    ratio: float | None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the claim holds; None where that is not known."""
        return None if self.ratio is None else self.ratio <= self.claim.at_most


def _against(suite: str, case: str, peer: str, at_most: float, words: str) -> Claim:
    return Claim(words, (suite, case, "grulight"), (suite, case, peer), at_most)


CLAIMS = (
    _against("epoch", "default", "keras-jax", 0.7, "epoch of `fit` against Keras on JAX"),
    _against("epoch", "default", "keras-tensorflow", 0.08, "epoch, Keras on TensorFlow"),
    _against("epoch", "default", "lightning", 0.08, "epoch, plain Lightning"),
    _against("epoch", "default", "jax", 1.3, "epoch against JAX's in one call, bare"),
    _against("latency", "1", "onnxruntime", 0.5, "1 sequence against ONNX Runtime"),
    _against("latency", "32", "jax", 0.7, "32 sequences against JAX"),
    _against("latency", "800", "jax", 1.0, "800 sequences against JAX"),
    _against("cold", "default", "keras-tensorflow", 1.0, "cold run against a Keras script"),
    _against("cold", "default", "lightning", 1.0, "cold run against a plain Lightning script"),
    _against("memory", "default", "lightning", 1.1, "peak memory against plain Lightning"),
    _against("cold", "predict_proba", "at most", 1.0, "first answers of a checkpoint in 2.5 s"),
    _against("memory", "predict_proba", "at most", 1.0, "they take 300 MB"),
    _against("tune", "30 epochs", "Optuna around Lightning", 1 / 8, "trial, Optuna and Lightning"),
    _against("tune", "30 epochs", "Keras Tuner on JAX", 1 / 8, "trial, Keras Tuner on JAX"),
    Claim(
        "memory of `predict`, 100000 sequences against 10000",
        ("memory", "predict 100000", "grulight"),
        ("memory", "predict 10000", "grulight"),
        1.1,
    ),
    Claim(
        "GPU training step at batch 65536, Triton against cuDNN",
        ("gpu", "train 65536", "triton float32"),
        ("gpu", "train 65536", "cudnn float32"),
        0.2,
    ),
    _against("gpu fit", "default", "lightning", 0.1, "GPU epoch of `fit`, plain Lightning"),
    _against("gpu fit", "default", "cuDNN graph", 1.3, "GPU epoch, bare captured cuDNN steps"),
    _against("gpu fit", "1000000", "lightning", 1 / 3, "GPU, 1000000 sequences, plain Lightning"),
    _against("gpu idle", "1000000", "at most", 1.0, "GPU, 1000000 sequences, a tenth idle at most"),
    Claim(
        "GPU epoch of the default run in one program against captured steps of cuDNN",
        ("gpu-epoch", "25 steps", "1 program"),
        ("gpu-epoch", "25 steps", "graph float32"),
        1.3,
    ),
    Claim(
        "GPU epoch of 100 trainings side by side against one",
        ("gpu-epoch", "25 steps", "100 programs"),
        ("gpu-epoch", "25 steps", "1 program"),
        1.5,
    ),
)


def judged(claim: Claim, results: Results) -> Verdict | None:
    """Judge a claim; None where neither of its suites ran."""
    missing = [key for key in (claim.ours, claim.theirs) if key not in results]
    if len(missing) == 2:
        return None
    if missing:
        return Verdict(claim, None, f"{missing[0][2]} was not measured")
    ours, theirs = results[claim.ours], results[claim.theirs]
    for key, sample in ((claim.ours, ours), (claim.theirs, theirs)):
        if not sample.values:
            return Verdict(claim, None, f"{key[2]} has no time")
    return Verdict(claim, ours.median / theirs.median)


def linear(words: str, costs: Mapping[int, float], at_most: float = 1.1) -> Verdict:
    """Judge whether a cost grows no faster than its size.

    Args:
        words: What is claimed.
        costs: Seconds by size, of two sizes at least.
        at_most: The largest ratio of the cost of one unit to that in any smaller size.
    """
    each = {size: costs[size] / size for size in sorted(costs)}
    sizes = list(each)
    # against the cheapest below: what a call costs by itself must not hide the growth
    ratio = max(each[n] / min(each[m] for m in sizes[:i]) for i, n in enumerate(sizes) if i)
    key = ("growth", words, "grulight")
    return Verdict(Claim(words, key, key, at_most), ratio)
