"""Nothing in a data set or beside a checkpoint runs anything, and what is odd gives one line."""

import os
import pickle
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from litsets import SAMPLES, changed_index, nothing_run, optimized

from grulight.cli import main
from grulight.data.readers import read
from grulight.errors import InputError
from grulight.run_data import data_settings
from grulight.runs import load_run
from grulight.task import FORMAT

PLAIN: list[Any] = [
    {"values": sample["values"], "label": at % 2, "id": f"s{at}"}
    for at, sample in enumerate(SAMPLES)
]


class Runs:
    """Unpickled, it makes a directory."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def pickled(folder: Path, mark: Path) -> str:
    return optimized(folder, [sample | {"id": Runs(mark)} for sample in PLAIN])


def refused(source: str) -> str:
    """Return the one line that reading ends in, soon and with nothing run."""
    start = time.monotonic()
    with nothing_run(), pytest.raises(InputError) as error:
        read(source)
    assert time.monotonic() - start < 5  # LitData would wait for two minutes
    line = str(error.value)
    assert len(line) <= 500
    assert "\n" not in line
    return line


def test_the_watch_notices_what_runs(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"pickle\.find_class"), nothing_run():
        pickle.loads(pickle.dumps(Runs(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


def test_fit_refuses_a_pickled_field_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = pickled(tmp_path, tmp_path / "mark")
    assert main(["fit", "--data.source", source]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "'id' is stored as 'pickle', which may run code" in line
    assert not (tmp_path / "mark").exists()


def test_trace_refuses_the_pickled_set_that_a_run_names(
    tmp_path: Path, last_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = pickled(tmp_path, tmp_path / "mark")
    checkpoint = beside(last_checkpoint, tmp_path, f"data: {{source: '{source}'}}")
    assert main(["trace", str(checkpoint)]) == 2
    printed = capsys.readouterr()
    assert f"data: {source}, as {tmp_path}/config.yaml beside the checkpoint says" in printed.out
    assert "which may run code" in printed.err
    assert not (tmp_path / "mark").exists()
    assert not Path("trace.html").exists()


def as_checkpoint(folder: Path, runs: Runs) -> Path:
    torch.save({"grulight_format": FORMAT, "hyper_parameters": runs}, folder / "last.ckpt")
    return folder / "last.ckpt"


def as_pickle(folder: Path, runs: Runs, suffix: str = ".ckpt") -> Path:
    path = folder / f"last{suffix}"
    path.write_bytes(pickle.dumps(runs))
    return path


def as_program(folder: Path, runs: Runs) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), "x.ckpt")
    return Path("x.ckpt")


@pytest.mark.parametrize("write", [as_checkpoint, as_pickle, as_program])
@pytest.mark.parametrize(
    "command",
    [
        *("trace {}", "export {} -o x.onnx", "export {} -o x.pt2", "port {} -o x.ckpt"),
        *("test --ckpt_path {}", "validate --ckpt_path {}", "predict --ckpt_path {}"),
        *("fit --ckpt_path {}", "fit --ckpt_path auto", "fit --model.from_keras {}"),
    ],
)
def test_no_command_runs_what_a_checkpoint_holds(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    write: Callable[[Path, Runs], Path],
) -> None:
    path = write(tmp_path, Runs(tmp_path / "mark"))
    newest = tmp_path / "lightning_logs" / "version_0" / "checkpoints" / "last.ckpt"
    newest.parent.mkdir(parents=True)
    newest.write_bytes(path.read_bytes())
    with nothing_run(removed=False):
        assert main(command.format(path).split()) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert len(line) <= 500
    assert not (tmp_path / "mark").exists()


def objects(folder: Path, runs: Runs) -> str:
    np.save(folder / "x.npy", np.array([[[runs]]]), allow_pickle=True)
    return "x.npy"


def labels(folder: Path, runs: Runs) -> str:
    np.save(folder / "x.npy", np.ones((2, 3, 1)))
    np.save(folder / "y.npy", np.array([runs, runs]), allow_pickle=True)
    return "x.npy --data.labels_file y.npy"


def members(folder: Path, runs: Runs) -> str:
    np.savez(folder / "x.npz", x=np.ones((2, 3, 1)), y=np.array([runs, runs]))
    return "x.npz"


def packed(folder: Path, runs: Runs) -> str:
    np.savez(folder / "x.npz", x=np.ones((4, 3, 1)), y=np.arange(4))
    assert main(["pack", "x.npz", "-o", "packed"]) == 0
    np.save(folder / "packed" / "ids.npy", np.array([runs] * 4), allow_pickle=True)
    return "packed"


def renamed(suffix: str) -> Callable[[Path, Runs], str]:
    return lambda folder, runs: str(as_pickle(folder, runs, suffix))


@pytest.mark.parametrize(
    "write",
    [
        *(objects, labels, members, packed),
        *map(renamed, (".npy", ".npz", ".csv", ".parquet", ".ts", ".keras", "")),
    ],
)
def test_no_source_of_data_is_unpickled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], write: Callable[[Path, Runs], str]
) -> None:
    source = write(tmp_path, Runs(tmp_path / "mark"))
    capsys.readouterr()
    with nothing_run():
        assert main(f"fit --data.source {source}".split()) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert len(line) <= 500
    assert not (tmp_path / "mark").exists()


def form(kind: str, context: object) -> str:
    leaf = '{"type": null, "context": null, "children_spec": []}'
    context = str(context).replace("'", '"')
    return f'[1, {{"type": "{kind}", "context": {context}, "children_spec": [{leaf}]}}]'


IMPORTING = {
    "default_factory_module": "imported_by_litdata",
    "default_factory_name": "x",
    "dict_context": ["values"],
}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # LitData takes what follows a colon for the format
        ({"data_format": ["numpy", "int", "no_header_numpy:pickle"]}, "'no_header_numpy:pickle'"),
        ({"data_format": ["numpy", "int", "video"]}, "stored as 'video'"),
        ({"data_format": ["numpy", "int", ["pickle"]]}, "'id' is stored as a list"),
        ({"data_format": ["numpy", "int"]}, "2 formats for 3 fields"),
        (
            {"data_format": ["numpy"], "data_spec": form("collections.defaultdict", IMPORTING)},
            "the form 'collections.defaultdict'",
        ),
        ({"data_format": ["numpy"], "data_spec": form("collections.deque", "'null'")}, "the form"),
        ({"data_format": ["numpy"], "data_spec": form("builtins.dict", "'[[]]'")}, "1 names"),
        ({"data_spec": None}, "TypeError"),
        ({"data_spec": "[" * 100_000}, "RecursionError"),
        ({"compression": "zstd"}, "says compression 'zstd', which is not read here"),
        ({"encryption": {"algorithm": "rsa", "level": "chunk"}}, "says encryption a list"),
        ({"format": "mds"}, "says format 'mds'"),
        ({"item_loader": "TokensLoader"}, "says item_loader 'TokensLoader'"),
    ],
)
def test_an_index_that_asks_for_more_than_plain_values_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], expected: str
) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "imported_by_litdata.py").write_text(f"import os\nos.mkdir({str(mark)!r})\nx = int")
    monkeypatch.syspath_prepend(tmp_path)
    source = optimized(tmp_path, PLAIN)
    changed_index(tmp_path, lambda index: index["config"].update(config))
    assert expected in refused(source)
    assert not mark.exists()


def test_an_index_of_mosaic_shards_is_refused(tmp_path: Path) -> None:
    # LitData makes a set of it, with the formats that it names
    source = optimized(tmp_path, PLAIN)
    shard = {
        "zip_data": {"bytes": 9, "basename": "chunk-0-0.bin"},
        "samples": 8,
        "column_sizes": [None],
        "column_names": ["values"],
        "column_encodings": ["pickle"],
        "compression": None,
        "format": "mds",
    }
    changed_index(tmp_path, lambda index: (index.clear(), index.update(shards=[shard])))
    assert "no 'config' or no 'chunks'" in refused(source)


def chunk(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        changed_index(folder, lambda index: index["chunks"][1].update(changes))

    return change


def twice(folder: Path) -> None:
    changed_index(folder, lambda index: index["chunks"].append(index["chunks"][0]))


def content(change: Callable[[bytearray], object], told: bool = False) -> Callable[[Path], None]:
    """Return what changes a chunk, and tells the index of its new size."""

    def apply(folder: Path) -> None:
        path = folder / "lit" / "chunk-0-1.bin"
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(data)
        if told:
            chunk(chunk_bytes=len(data))(folder)

    return apply


def word(at: int, number: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[at : at + 4] = np.uint32(number).tobytes()

    return change


def fifo(folder: Path) -> None:
    (folder / "lit" / "chunk-0-1.bin").unlink()
    os.mkfifo(folder / "lit" / "chunk-0-1.bin")


FIRST = 4 * (2 + 8)  # where the first of eight samples lies; three sizes, then the array's header


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (chunk(filename="../outside.bin"), "names a chunk '../outside.bin', expected a plain file"),
        (chunk(filename="/etc/passwd"), "expected a plain file name"),
        (chunk(filename="x; mkdir mark"), "expected a plain file name"),
        (chunk(filename="gone.bin"), "names the chunk gone.bin, which is missing"),
        (chunk(filename=["x"]), "expected a plain file name"),
        (twice, "names a chunk twice"),
        (fifo, "which is missing"),
        (chunk(chunk_bytes=1 << 40), "has 1099511627776 bytes"),
        (chunk(chunk_bytes="9"), "it is cut off or another one"),
        (chunk(chunk_size=1 << 40), "holds 1099511627776 samples, it cannot"),
        (chunk(chunk_size=-1), "holds -1 samples"),
        (chunk(chunk_size=7), "whose offsets are damaged"),
        (chunk(chunk_size=2.5), "holds 2.5 samples"),
        (content(lambda data: data.__delitem__(slice(-9, None))), "it is cut off"),
        (content(lambda data: data.__delitem__(slice(-9, None)), told=True), "offsets are damaged"),
        (content(bytearray.clear, told=True), "it cannot"),
        (content(word(0, 9)), "offsets are damaged"),
        (content(word(8, 2**32 - 1)), "offsets are damaged"),
        (content(word(FIRST, 2**32 - 1)), "sample 0 is damaged"),
        (content(word(FIRST + 16, 2**32 - 1)), "cannot read sample 8"),  # axes
        (content(word(FIRST + 20, 2**32 - 1)), "cannot read sample 8"),  # steps
        (content(word(FIRST + 12, 14)), "cannot read sample 8"),  # Python objects
        (content(word(FIRST + 28, 0x7FC00000)), "sample 8 holds NaN"),
    ],
)
def test_a_damaged_chunk_is_named_soon(
    tmp_path: Path, change: Callable[[Path], None], expected: str
) -> None:
    source = optimized(tmp_path, PLAIN)
    change(tmp_path)
    assert expected in refused(source)


def test_a_tensor_without_elements_is_not_allocated(tmp_path: Path) -> None:
    samples: list[Any] = [sample | {"values": torch.zeros(0, 2)} for sample in PLAIN]
    source = optimized(tmp_path, samples)
    content(word(FIRST + 20, 2**31))(tmp_path)
    assert "cannot read sample 0 (ValueError: a tensor without elements)" in refused(source)


def test_tensors_and_nested_fields_are_read(tmp_path: Path) -> None:
    samples: list[Any] = [
        {
            "values": torch.from_numpy(np.array(sample["values"])),
            "label": torch.tensor([at / 4, 1.0]),
            "more": {"sensor": [at, True, 0.5], "place": "here"},
        }
        for at, sample in enumerate(SAMPLES)
    ]
    found = read(optimized(tmp_path, samples))
    assert found.labels is not None
    np.testing.assert_array_equal(found.labels[:, 0], np.arange(50, dtype=np.float32) / 4)


def test_a_chunk_that_is_damaged_later_gives_one_line_too(tmp_path: Path) -> None:
    found = read(optimized(tmp_path, PLAIN))
    content(word(FIRST + 16, 2**32 - 1))(tmp_path)
    with pytest.raises(InputError, match="cannot read sample 8"):
        found.values[np.arange(9), :3]


@pytest.mark.parametrize(
    "address", ["s3://bucket/set", "gs://b/$(mkdir mark)", "hf://datasets/x/y", "local:/tmp"]
)
def test_remote_addresses_are_refused_at_once(address: str) -> None:
    assert "is a remote address, whose content cannot be checked" in refused(f"litdata:{address}")


@pytest.mark.parametrize("name", ["too long for a file " * 15, "\x00", "a\nb"])
def test_odd_names_of_directories_give_one_line(name: str) -> None:
    assert "litdata:" in refused(f"litdata:{name}")


def test_a_long_text_does_not_make_all_texts_long(tmp_path: Path) -> None:
    source = optimized(tmp_path, [*PLAIN, PLAIN[0] | {"id": "x" * 2000}])
    assert "sample 50: a text of 2,000 letters, expected 1,000" in refused(source)


def beside(checkpoint: Path, run: Path, config: str | bytes) -> Path:
    """Copy a checkpoint into a run directory that has this ``config.yaml``."""
    copy = run / "checkpoints" / "last.ckpt"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(checkpoint.read_bytes())
    (run / "config.yaml").write_bytes(config.encode() if isinstance(config, str) else config)
    return copy


LAUGHS = "a: &a [ha]\nb: &b [*a, *a]\ndata: {features: *b}"
MERGES = "a: &a {x: 1}\nb: &b {<<: [*a, *a]}\ndata: {<<: *b}"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("data: [1, 2]", "'data' is missing or no mapping"),
        ("data: null", "'data' is missing or no mapping"),
        ("[]", "'data' is missing or no mapping"),
        ("", "'data' is missing or no mapping"),
        ("data: {foo: 1}", "unknown setting 'foo'"),
        ("data: {1: 1}", "unknown setting '1'"),
        ("data: {class_path: os.system, init_args: {command: x}}", "unknown setting 'class_path'"),
        ("data: {source: 5}", "data.source is int or out of range, not str"),
        ("data: {source: {class_path: x}}", "data.source is dict"),
        ('data: {source: "a\\x1b[2J"}', "data.source is str or out of range"),
        ('data: {batch_size: "x"}', "data.batch_size is str"),
        ("data: {batch_size: true}", "data.batch_size is bool"),
        (f"data: {{train_size: 1{'0' * 400}}}", "data.train_size is int or out of range"),
        ("data: {val_size: .nan}", "data.val_size is float or out of range"),
        ("data: {features: [a, [b]]}", "data.features is list"),
        ("data: {targets: other}", "data.targets is str"),
        ("data: {num_classes: 2147483648}", "--data.num_classes 2147483648: expected 1 to"),
        ("data: !!python/object/apply:os.mkdir [mark]", "could not determine a constructor"),
        ("data: !!timestamp x", "cannot be read"),
        (LAUGHS, "it has references"),
        (MERGES, "it has references"),
        ("data: " + "[" * 9000, "cannot be read"),
        ("#" * 300_000, "it has more than 262,144 bytes"),
        (b"data: \xff", "cannot be read"),
    ],
)
def test_an_odd_config_beside_a_checkpoint_gives_one_line(
    tmp_path: Path,
    last_checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
    config: str | bytes,
    expected: str,
) -> None:
    checkpoint = beside(last_checkpoint, tmp_path, config)
    with nothing_run():
        assert main(["trace", str(checkpoint)]) == 2
    printed = capsys.readouterr()
    [line] = printed.err.splitlines()
    assert expected in line
    assert len(line) <= 500
    assert printed.out == "" or "num_classes" in expected  # a type that fits, out of range
    assert not Path("mark").exists()


def test_trace_says_which_data_a_run_made_it_read(
    tmp_path: Path, last_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = data_settings(last_checkpoint)
    config = last_checkpoint.parent.parent / "config.yaml"
    said = f"data: waves, as {config} beside the checkpoint says\n"
    assert found["source"] == "waves"
    assert capsys.readouterr().out == said
    checkpoint = beside(last_checkpoint, tmp_path, "data: {source: x.npy, labels_file: y.npy}")
    with pytest.raises(InputError, match=r"x\.npy: no such file"):
        load_run(checkpoint)
    assert "data: x.npy, labels_file y.npy, as " in capsys.readouterr().out
    load_run(checkpoint, "waves")  # what the user says needs no second word
    assert capsys.readouterr().out == ""


def test_a_config_that_is_no_file_is_not_passed_over(tmp_path: Path, last_checkpoint: Path) -> None:
    checkpoint = beside(last_checkpoint, tmp_path, "")
    (tmp_path / "config.yaml").unlink()
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(InputError, match="it is no regular file"):
        load_run(checkpoint)


HEAD = "epoch,train_loss,train_accuracy,val_loss,val_accuracy\n"


@pytest.mark.parametrize(
    ("table", "bad"),
    [
        ("", False),
        ("x\n1\n", True),
        (HEAD + "one,1,1,1,1\n", True),
        (HEAD + "9" * 5000 + ",1,1,1,1\n", True),
        (HEAD + '0,"' + "1" * 200_000 + '",1,1,1\n', True),
        (HEAD + "0,1e308,1,1,1\n", True),
        (HEAD + "0,nan,inf,-inf,1\n1,1,1,1,1\n", False),
        (HEAD + "0,1,1,1,\n1,1,1,,1\n-7,1,1,1,1\n", False),  # halves of a pair
        (HEAD + "0,1,1,1,1,1,1,1\n0\n", False),
        ("\xff", True),
    ],
)
def test_an_odd_table_of_metrics_gives_one_line_or_a_page(
    tmp_path: Path,
    last_checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
    table: str,
    bad: bool,
) -> None:
    checkpoint = torch.load(last_checkpoint, weights_only=True)
    del checkpoint["callbacks"]["TraceRecorder"]
    copy = beside(last_checkpoint, tmp_path, "data: {source: waves}")
    torch.save(checkpoint, copy)
    (tmp_path / "metrics.csv").write_text(table, encoding="latin-1")
    assert main(["trace", str(copy)]) == 2 * bad
    assert len(capsys.readouterr().err.splitlines()) == bad
