"""Epochs with one option more than the default: beside the default's, and plain Lightning's."""

from collections.abc import Sequence
from typing import NamedTuple

from peers import peer_process
from peers.benchmark_state import Benchmark
from peers.claims import Claim
from peers.work import draw

DEFAULT, ALONE = "grulight without it", "its steps alone"


class Option(NamedTuple):
    """An option, as `grulight fit` and the script of plain Lightning are told of it.

    Attributes:
        ours: Arguments of `grulight fit`.
        theirs: ``name=value`` for plain Lightning, and for the steps alone.
        alone: Whether the network computes more, so that its steps are timed alone.
    """

    ours: Sequence[str]
    theirs: Sequence[str]
    alone: bool = False


_WATCHED = ["--early_stopping=val_loss", "--early_stopping.patience=1000000000"]
OPTIONS = {
    "early stopping": Option([*_WATCHED, "--data.val_size=0.2"], ["val_size=0.2"]),
    "two directions": Option(["--model.bidirectional=true"], ["directions=2"], alone=True),
    "two layers": Option(["--model.num_layers=2"], ["layers=2"], alone=True),
    "dropout": Option(["--model.dropout=0.3"], ["dropout=0.3"]),
    "Adam": Option(["--optimizer=torch.optim.Adam"], ["optimizer=Adam"]),
    "AdamW": Option(["--optimizer=torch.optim.AdamW"], ["optimizer=AdamW"]),
    "SGD": Option(
        [
            "--optimizer=torch.optim.SGD",
            *("--optimizer.lr=1e-3", "--optimizer.momentum=0.9", "--optimizer.nesterov=true"),
        ],
        ["optimizer=SGD"],
    ),
    "RMSprop": Option(["--optimizer=torch.optim.RMSprop"], ["optimizer=RMSprop"]),
    "clipping": Option(["--trainer.gradient_clip_val=1.0"], ["clip=1.0"]),
    "accumulation": Option(["--trainer.accumulate_grad_batches=2"], ["accumulate=2"]),
    "schedule by epoch": Option(
        ["--lr_scheduler=torch.optim.lr_scheduler.ExponentialLR", "--lr_scheduler.gamma=0.9999"],
        ["schedule=epoch"],
    ),
    "max_time": Option(["--trainer.max_time=10:00:00:00"], ["max_time=10:00:00:00"]),
}


def options(bench: Benchmark) -> None:
    """Measure an epoch with each option, the default's in the same turns."""
    work = draw()
    for name, option in OPTIONS.items():
        peers = {
            "grulight": ("grulight_fit.py", "option", *option.ours),
            DEFAULT: ("grulight_fit.py",),
            "lightning": ("lightning_options.py", *option.theirs),
        }
        peers = {peer: command for peer, command in peers.items() if _takes_part(peer, bench)}
        if option.alone and "grulight" in peers:
            peers[ALONE] = ("compiled_steps.py", *option.theirs)
        bench.measure(work, peers, {("options", name): peer_process.epochs})


def _takes_part(peer: str, bench: Benchmark) -> bool:
    return ("lightning" if peer == "lightning" else "grulight") in bench.peers


def claims() -> list[Claim]:
    """Return what must hold of each option."""
    found = []
    for name, option in OPTIONS.items():
        beside, at_most = (ALONE, 2.5) if option.alone else (DEFAULT, 4.0)
        ours = ("options", name, "grulight")
        found += [
            Claim(f"{name} against {beside}", ours, ("options", name, beside), at_most),
            Claim(f"{name}, plain Lightning", ours, ("options", name, "lightning"), 0.15),
        ]
    return found
