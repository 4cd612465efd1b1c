"""What a checkpoint may hold: everything else is one line, at the price of the file."""

import copy
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import grulight
from grulight.checkpoint import load_classifier, read_checkpoint, structure
from grulight.cli import main
from grulight.errors import InputError
from grulight.resume import newest_checkpoint, require_continuable
from grulight.task import GRUClassifier
from grulight.trace.recorder import TraceRecorder

Run = Callable[..., str]
Held = dict[str, Any]


@pytest.fixture(scope="session")
def good(last_checkpoint: Path) -> Held:
    held: Held = torch.load(last_checkpoint, weights_only=True)
    return held


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert len(line) <= 500
    return line


def continued(path: Path) -> None:
    held = read_checkpoint(path)
    classifier = GRUClassifier(**held["hyper_parameters"])
    classifier.optimization = held.get("optimization")
    require_continuable(path, classifier)


def changed(good: Held, *path: Any, to: Any) -> Path:
    held = copy.deepcopy(good)
    at = held
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to
    torch.save(held, "changed.ckpt")
    return Path("changed.ckpt")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("state_dict", "network.head.bias"), torch.zeros(2), r"network\.head\.bias.*\(3,\)"),
        (("state_dict", "network.head.bias"), torch.zeros(3).log(), "is not finite"),
        (("state_dict", "network.head.bias"), torch.zeros(3, dtype=torch.int64), "do not fit"),
        (("state_dict", "network.head.bias"), "text", "'text', expected a tensor"),
        (("state_dict", "more"), torch.zeros(3), "no place for 'more'"),
        (("hyper_parameters",), [], "hyper_parameters is a list"),
        (("hyper_parameters", "hidden_size"), 20_000, "60000"),
        (("hyper_parameters", "hidden_size"), 2**31, "do not fit"),
        (("hyper_parameters", "num_layers"), 2**31, "do not fit"),
        (("hyper_parameters", "num_classes"), 2**31, "class names"),
        (("hyper_parameters", "input_size"), 2**31, "feature_names"),
        (("hyper_parameters", "hidden_size"), 16.0, "a whole number"),
        (("hyper_parameters", "dropout"), float("nan"), "from 0 to 1"),
        (("hyper_parameters", "class_names"), ["a", 1, "b"], r"class_names\[1\] is 1"),
        (("hyper_parameters", "mean"), [0.0], "mean for 5 features"),
        (("hyper_parameters", "kernel"), "magic", "one of auto"),
        (("hyper_parameters", "new"), 1, "of another model"),
        (("hyper_parameters", "from_keras"), {"format": 1}, "lacks"),
        (("grulight_format",), 10**30, "format a int"),
        (("callbacks", "TraceRecorder", "epochs"), "{", "is not JSON"),
        (("callbacks", "TraceRecorder", "epochs"), '{"number": 1}', "lacks 'metrics'"),
    ],
)
def test_a_model_that_no_checkpoint_holds_is_one_line(
    good: Held, path: tuple[str, ...], value: object, expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        load_classifier(changed(good, *path, to=value))


LOOP = ("loops", "fit_loop")
STATE = ("optimizer_states", 0)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (
            (*STATE, "state", 5, "exp_avg"),
            torch.zeros(2),
            r"exp_avg of network\.head\.bias.*3,",
        ),
        ((*STATE, "state", 0), {"exp_avg": torch.zeros(1)}, r"weight_ih_l0"),
        ((*STATE, "state", 5, "exp_avg"), torch.zeros(3).double(), "expected torch.float32"),
        ((*STATE, "state", 5, "exp_avg_sq"), torch.zeros(3) - 1, "negative"),
        ((*STATE, "state", 5, "exp_avg"), torch.full((3,), torch.inf), "not finite"),
        ((*STATE, "state", 6), {}, "more weights than there are"),
        ((*STATE, "param_groups", 0, "step"), 126, "step 126 of 125"),
        ((*STATE, "param_groups", 0, "lr"), "fast", "expected a finite number"),
        ((*STATE, "param_groups", 0, "betas"), (0.9,), "a list of 2"),
        ((*STATE, "param_groups", 0, "params"), [0], "other groups"),
        (("optimizer_states",), [], "states of optimisers"),
        (("lr_schedulers",), [{}], "states of optimisers"),
        (("global_step",), 4, "not what its loops count"),
        (("epoch",), 77, "not what its loops count"),
        ((*LOOP, "epoch_progress", "current", "processed"), 2, "none above the one before"),
        ((*LOOP, "epoch_loop.batch_progress", "is_last_batch"), 1, "true or false"),
        ((*LOOP, "state_dict", "combined_loader", 0, "batch"), 26, "served 26 batches"),
        (("SequenceDataModule", "seed"), -1, "seed is -1"),
        (("processes", 0, "rng"), torch.zeros(5056, dtype=torch.uint8), "no state of"),
        (("processes", 0, "sums"), torch.zeros(3), r"processes\[0\]\.sums"),
        (("callbacks", "RunCheckpoint(train_loss)", "best"), None, "best is None"),
    ],
)
def test_a_training_that_no_run_left_is_one_line(
    good: Held, path: tuple[Any, ...], value: object, expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        continued(changed(good, *path, to=value))


@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "RMSprop", "Adagrad", "Adafactor", "LBFGS"])
def test_torch_optimisers_go_on_and_their_moments_are_checked(run: Run, optimizer: str) -> None:
    more = ["--optimizer.momentum", 0.5] if optimizer == "SGD" else []
    arguments = ("fit", "--optimizer", optimizer, "--optimizer.lr", 1e-3, *more,
                 "--trainer.logger", False, "--data.train_size", 64)  # fmt: skip
    schedule = ("--lr_scheduler", "StepLR", "--lr_scheduler.step_size", 1)
    run(*arguments, *schedule, "--trainer.max_epochs", 1)
    [last] = Path().rglob("last.ckpt")
    run(*arguments, *schedule, "--ckpt_path", last, "--trainer.max_epochs", 2)


def test_what_users_keep_is_theirs(good: Held) -> None:
    theirs = {"Mine": {"any": [torch.zeros(2), {1, 2}, None], 5: (b"bytes", torch.float32)}}
    path = changed(good, "callbacks", to=good["callbacks"] | theirs)
    continued(path)
    assert read_checkpoint(path)["callbacks"]["Mine"]["any"][1] == {1, 2}
    load_classifier(changed(good, "of_mine", to={"a": torch.zeros(3)}))


def test_older_checkpoints_open(good: Held) -> None:
    """Before kernels, several steps at once, several processes; epochs in a list."""
    held = copy.deepcopy(good)
    for name in ("kernel", "steps_per_execution", "from_keras", "num_values", "per_step"):
        del held["hyper_parameters"][name]
    [served] = held["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    del served["steps_per_execution"], held["processes"], held["SequenceDataModule"]
    recorder = TraceRecorder()
    recorder.load_state_dict(held["callbacks"]["TraceRecorder"])
    held["callbacks"]["TraceRecorder"] = {"epochs": [vars(each) for each in recorder.epochs]}
    torch.save(held, "older.ckpt")
    load_classifier("older.ckpt")
    continued(Path("older.ckpt"))


def zipped(source: Path, how: str) -> Path:
    """Write a checkpoint's zip anew, its first tensor's numbers altered."""
    with zipfile.ZipFile(source) as archive:
        members = {each.filename: archive.read(each) for each in archive.infolist()}
    name = next(each for each in members if each.endswith("/data/0"))
    kind = zipfile.ZIP_DEFLATED if how == "deflated" else zipfile.ZIP_STORED
    with zipfile.ZipFile("altered.ckpt", "w", kind) as archive:
        for each, content in members.items():
            cut = content[:8] if how == "short" and each == name else content
            archive.writestr(each, cut)
        if how == "doubled":
            archive.writestr(name.upper(), members[name])
    if how == "comment":
        with zipfile.ZipFile("altered.ckpt", "a") as archive:
            archive.comment = b"a second directory could hide here"
    return Path("altered.ckpt")


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("deflated", "is compressed"),
        ("short", "as many numbers as a tensor says"),
        ("doubled", "have one name"),
        ("comment", "of another kind"),
    ],
)
def test_a_zip_that_torch_did_not_write_is_refused(
    last_checkpoint: Path, how: str, expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        read_checkpoint(zipped(last_checkpoint, how))


class Calls:
    """Something that a pickle asks to be called."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def nested(levels: int, box: Callable[[Any], Any]) -> Any:
    value: Any = ()
    for _ in range(levels):
        value = box(value)
    return value


def doubling(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Calls(bytearray, 10**11), "bytearray"),
        (Calls(print, "run"), "print"),
        (Calls(torch._utils._rebuild_tensor_v2, (), 0, (9,), (1,), False, {}), "damaged"),
        (torch.zeros(1).expand(10**10), "as many numbers as a tensor says"),
        (torch.zeros(3, 3).to_sparse(), "not tensors and plain values"),
        (Calls(torch._utils._rebuild_qtensor, 1), "_rebuild_qtensor"),
        (doubling(40), "repeats"),
        (nested(200, lambda each: [each]), "nested deeper than 128"),
        (nested(200, lambda each: (each,)), "nested deeper than 128"),
        (10**5000, "not one of torch.save"),
    ],
    ids=["bytearray", "call", "no storage", "stride 0", "sparse", "quantised", "doubling", "lists",
         "tuples", "long number"],
)  # fmt: skip
def test_nothing_larger_than_the_file_is_made(good: Held, value: object, expected: str) -> None:
    path = changed(good, "callbacks", "Mine", to=value)
    tracemalloc.start()
    with pytest.raises(InputError, match=expected):
        read_checkpoint(path)
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()


def test_deep_keys_end_no_process() -> None:
    """Python hashes tuples without a limit to their depth."""
    pickled = b"\x80\x02}(" + b")" + b"\x85" * 300_000 + b"K\x01u."
    with zipfile.ZipFile("deep.ckpt", "w") as archive:
        archive.writestr("deep/data.pkl", pickled)
    with pytest.raises(InputError, match="nested deeper"):
        read_checkpoint("deep.ckpt")


def test_a_memory_far_away_takes_none() -> None:
    pickled = b"\x80\x02}r" + (2**30).to_bytes(4, "little") + b"."
    with zipfile.ZipFile("far.ckpt", "w") as archive:
        archive.writestr("far/data.pkl", pickled)
    with pytest.raises(InputError, match="not one of torch"):
        read_checkpoint("far.ckpt")


def test_ported_models_take_no_more_than_they_have(run: Run, good: Held) -> None:
    held = {key: good[key] for key in ("grulight_format", "state_dict")}
    described = {
        "format": 1, "keras_version": "3.15", "backend": "tensorflow", "up_to": None, "loss": None,
        "model": {"class_name": "Sequential", "config": {}}, "ignored": [], "dtype": "float32",
        "shapes": {"gru": {"kernel": [100_000, 100_000]}},
    }  # fmt: skip
    torch.save(held | {"keras_model": described, "why_python_only": "two inputs"}, "large.ckpt")
    with pytest.raises(InputError, match="numbers, expected 10000000000"):
        grulight.load_keras("large.ckpt")


@pytest.mark.parametrize("command", [("test", "--ckpt_path"), ("trace",), ("fit", "--ckpt_path")])
def test_the_commands_refuse_in_a_line(
    good: Held, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    path = changed(good, "hyper_parameters", "dropout", to="x" * 9999)
    assert "dropout" in refused(capsys, *command, path)


def test_what_cannot_be_opened_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    assert "is no file" in refused(capsys, "test", "--ckpt_path", "/dev/null")
    assert "cannot be opened" in refused(capsys, "test", "--ckpt_path", "d" * 300)
    monkeypatch.setattr("os.stat", forbid)
    with pytest.raises(InputError, match=r"locked\.ckpt: cannot be opened .Permission denied"):
        structure("locked.ckpt")
    monkeypatch.undo()
    monkeypatch.setattr(Path, "iterdir", forbid)
    with pytest.raises(InputError, match=r"cannot be read .Permission denied"):
        newest_checkpoint("root", print)


def test_a_run_goes_on_from_where_it_was_furthest(good: Held) -> None:
    directory = Path("lightning_logs/version_0/checkpoints")
    directory.mkdir(parents=True)
    torch.save(good, directory / "last.ckpt")
    torch.save(good | {"global_step": 100}, directory / "step_000000100.ckpt")  # the newer file
    assert newest_checkpoint(".", print) == directory / "last.ckpt"


def test_an_epoch_that_is_resumed_within_keeps_its_learning_rate() -> None:
    before, after = TraceRecorder(), TraceRecorder()
    before._learning_rate = 0.25
    after.load_state_dict(before.state_dict())
    assert after._learning_rate == 0.25


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    inside = [(key, each) for key, each in items]
    return [
        *((*path, key) for key, _ in inside),
        *(
            found
            for key, each in inside
            if isinstance(each, dict | list)
            for found in paths_of(each, (*path, key))
        ),
    ]


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([[], {}, (), [[]], {"x": 1}, {1: 2}, "0" * 5000, 10**200]),
    st.builds(
        torch.full,
        st.lists(st.sampled_from([0, 1, 3, 5, 16, 48]), max_size=3).map(tuple),
        st.sampled_from([0.0, -1.0, float("nan"), 1.0]),
        dtype=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.complex64]),
    ),
)


def alter(held: Held, path: tuple[Any, ...], how: str, value: object) -> None:
    at: Any = held
    for key in path[:-1]:
        at = at[key]
    if how == "drop":
        del at[path[-1]]
    elif how == "extend" and isinstance(at[path[-1]], list):
        at[path[-1]].append(value)
    elif how == "extend" and isinstance(at[path[-1]], dict):
        at[path[-1]]["more"] = value
    else:
        at[path[-1]] = value


CHANGE = (st.integers(0, 999), st.integers(0, 9999), st.sampled_from(["replace", "drop", "extend"]))


def survives(good: Held, directory: Path, *change: Any) -> None:
    """Alter any node of a checkpoint; it opens, or is refused in a line."""
    first, second, how, value = change
    held = copy.deepcopy(good)
    top = sorted(good)[first % len(good)]
    paths = [(top,), *paths_of(good[top] if isinstance(good[top], dict | list) else {}, (top,))]
    alter(held, paths[second % len(paths)], how, value)
    torch.save(held, directory / "altered.ckpt")
    for opened in (load_classifier, continued):
        assert is_one_line(said(opened, directory / "altered.ckpt"))


def said(opened: Callable[[Path], object], path: Path) -> str:
    """Return the refusal of a file, without its name; nothing where it opens."""
    try:
        opened(path)
    except InputError as error:
        return str(error).removeprefix(str(path))
    return ""


def is_one_line(text: str) -> bool:
    return "\n" not in text and len(text) <= 450


FUZZ: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=40, **FUZZ)
@given(change=st.tuples(*CHANGE, ODD))
def test_any_alteration_opens_or_is_refused(good: Held, tmp_path: Path, change: Any) -> None:
    survives(good, tmp_path, *change)


@pytest.mark.slow
@settings(max_examples=20_000, **FUZZ)
@given(change=st.tuples(*CHANGE, ODD))
def test_any_of_many_alterations_opens_or_is_refused(
    good: Held, tmp_path: Path, change: Any
) -> None:
    survives(good, tmp_path, *change)


@settings(max_examples=60, **FUZZ)
@given(at=st.integers(0, 9_999), to=st.binary(min_size=1, max_size=8))
def test_any_bytes_open_or_are_refused(
    last_checkpoint: Path, tmp_path: Path, at: int, to: bytes
) -> None:
    content = bytearray(last_checkpoint.read_bytes())
    content[at : at + len(to)] = to
    (tmp_path / "bytes.ckpt").write_bytes(content)
    assert is_one_line(said(continued, tmp_path / "bytes.ckpt"))
