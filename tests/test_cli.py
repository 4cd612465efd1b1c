import csv
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from grulight.cli import main

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))

import example_data

Run = Callable[..., str]
FAST = ("--trainer.max_epochs", 1)
CONFIGS = Path(__file__).parent.parent / "grulight" / "configs"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def long_csv(path: Path, labels: dict[str, str], features: str = "ab", steps: int = 3) -> Path:
    """Write a table of sequences; those of the first class rise, the others fall."""
    generator = np.random.default_rng(0)
    sign = {label: 1 - 2 * i for i, label in enumerate(sorted(set(labels.values())))}
    rows = [
        [name, step, label, *(sign[label] * step + generator.normal(size=len(features)))]
        for name, label in labels.items()
        for step in range(steps)
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["sequence", "time", "label", *features], *rows])
    return path


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def test_fit_shows_the_four_stages_and_a_row_per_epoch(default_run: tuple[Path, str]) -> None:
    _, printed = default_run
    for stage in (
        r"input +1000 × 10 × 5",
        r"split +800 / 200",
        r"GRU \(numba\) +800 × 16",
        r"dense \+ softmax +800 × 3",
    ):
        assert re.search(stage, printed)
    rows = re.findall(r"^ +(\d)  (\d\.\d{4})  (\d\.\d{4})    \S", printed, re.MULTILINE)
    assert [number for number, _, _ in rows] == list("12345")
    assert "█" in printed
    assert "test (200 sequences)" in printed


def test_run_directory_holds_what_was_promised(default_run: tuple[Path, str]) -> None:
    directory, printed = default_run
    files = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    expected = {
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "config.yaml",
        "confusion_matrix.png",
        "metrics.csv",
    }
    assert expected <= files
    assert any("tfevents" in name for name in files)
    assert all(name in printed for name in expected)
    assert (directory / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")


def test_printed_epochs_are_those_of_metrics_csv(default_run: tuple[Path, str]) -> None:
    directory, printed = default_run
    rows = [row for row in table(directory / "metrics.csv") if row["train_loss"]]
    assert len(rows) == 5
    for row in rows:
        line = f"{float(row['train_loss']):.4f}  {float(row['train_accuracy']):.4f}"
        assert line in printed


def test_same_seed_gives_bit_identical_weights_and_metrics(
    run: Run, default_run: tuple[Path, str], tmp_path: Path
) -> None:
    directory, _ = default_run
    run("fit", "--trainer.default_root_dir", tmp_path)
    again = tmp_path / "lightning_logs" / "version_0"
    ours, theirs = (weights(d / "checkpoints" / "last.ckpt") for d in (again, directory))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (again / "metrics.csv").read_bytes() == (directory / "metrics.csv").read_bytes()


def test_another_seed_gives_another_model(run: Run, last_checkpoint: Path) -> None:
    run("fit", "--seed_everything", 1, *FAST)
    other = weights(Path("lightning_logs/version_0/checkpoints/last.ckpt"))
    assert not torch.equal(
        other["network.head.weight"], weights(last_checkpoint)["network.head.weight"]
    )


def test_a_continued_run_ends_where_an_uninterrupted_one_does(
    run: Run, default_run: tuple[Path, str]
) -> None:
    directory, printed = default_run
    run("fit", "--trainer.max_epochs", 3)
    last = "lightning_logs/version_0/checkpoints/last.ckpt"
    continued = run("fit", "--trainer.max_epochs", 5, "--ckpt_path", last)
    ours = weights(Path("lightning_logs/version_1/checkpoints/last.ckpt"))
    theirs = weights(directory / "checkpoints" / "last.ckpt")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    # the rows and the chart know the epochs before the interruption
    assert printed.split("test (")[0].endswith(continued.split("test (")[0][-200:])


def test_a_run_can_be_repeated_from_its_own_config(run: Run, default_run: tuple[Path, str]) -> None:
    directory, _ = default_run
    run("fit", "--config", directory / "config.yaml", "--trainer.default_root_dir", ".")
    ours = weights(Path("lightning_logs/version_0/checkpoints/last.ckpt"))
    theirs = weights(directory / "checkpoints" / "last.ckpt")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.usefixtures("drawn")
def test_test_prints_the_scores_that_fit_ended_with(
    run: Run, default_run: tuple[Path, str], last_checkpoint: Path
) -> None:
    directory, printed = default_run
    again = run("test", "--ckpt_path", last_checkpoint, "--config", directory / "config.yaml",
                "--trainer.default_root_dir", ".")  # fmt: skip
    scores = printed[printed.index("test (200") : printed.index("files")]
    assert scores in again
    for word in ("accuracy", "balanced accuracy", "macro f1", "true ↓", "still"):
        assert word in scores
    picture = Path("lightning_logs/version_0/confusion_matrix.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_validate_measures_the_end_of_the_training_part(run: Run, last_checkpoint: Path) -> None:
    printed = run("validate", "--ckpt_path", last_checkpoint, "--data.val_size", 0.1)
    assert re.search(r"accuracy +\d\.\d{4}", printed)


def test_validation_is_logged_and_chooses_the_best_checkpoint(run: Run) -> None:
    printed = run("fit", "--data.val_size", 80, "--trainer.max_epochs", 2)
    assert "720 / 80 / 200" in printed
    rows = [row for row in table(Path("lightning_logs/version_0/metrics.csv")) if row["val_loss"]]
    assert len(rows) == 2
    best = torch.load("lightning_logs/version_0/checkpoints/best.ckpt", weights_only=True)
    assert any("val_loss" in name for name in best["callbacks"])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_predict_writes_a_row_per_sequence(run: Run, last_checkpoint: Path, suffix: str) -> None:
    output = Path(f"out/labels.{suffix}")
    printed = run("predict", "--ckpt_path", last_checkpoint, "--output", output)
    assert "1000 sequences" in printed
    if suffix == "parquet":
        import pyarrow.parquet

        rows = pyarrow.parquet.read_table(output).to_pylist()
    else:
        rows = table(output)
    assert len(rows) == 1000
    for row in rows[:50]:
        shares = {name: float(row[f"probability_{name}"]) for name in ("up", "down", "still")}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == max(shares, key=lambda name: shares[name])


def test_own_table_trains_and_comes_back_with_its_own_names(run: Run) -> None:
    labels = {f"s{i}": "falls" if i % 2 else "rises" for i in range(60)}
    source = long_csv(Path("mine.csv"), labels)
    run("fit", "--data.source", source, "--data.standardize", "true", "--optimizer", "Adam",
        "--optimizer.lr", 0.02, "--trainer.max_epochs", 15)  # fmt: skip
    last = "lightning_logs/version_0/checkpoints/last.ckpt"
    saved = torch.load(last, weights_only=True)
    assert saved["hyper_parameters"]["class_names"] == ["falls", "rises"]
    assert saved["hyper_parameters"]["feature_names"] == ["a", "b"]
    assert saved["state_dict"]["network.head.weight"].shape == (1, 16)
    unlabelled = Path("new.csv")
    rows = [line.split(",") for line in source.read_text().splitlines()]
    unlabelled.write_text("\n".join(",".join([r[0], r[1], *r[:2:-1]]) for r in rows))
    run("predict", "--ckpt_path", last, "--data.source", unlabelled)
    predicted = {row["sequence"]: row["predicted"] for row in table(Path("predictions.csv"))}
    right = np.mean([predicted[name] == label for name, label in labels.items()])
    assert right > 0.95


def test_any_torch_optimiser_and_scheduler_can_be_chosen(run: Run) -> None:
    run("fit", "--optimizer", "AdamW", "--optimizer.weight_decay", 0.1, "--lr_scheduler", "StepLR",
        "--lr_scheduler.step_size", 1, *FAST)  # fmt: skip
    config = yaml.safe_load(Path("lightning_logs/version_0/config.yaml").read_text())
    assert config["optimizer"]["class_path"] == "torch.optim.AdamW"
    assert config["optimizer"]["init_args"]["weight_decay"] == 0.1


@pytest.mark.parametrize(  # test_tune.py runs what is for `tune`
    "config",
    sorted({*CONFIGS.glob("*.yaml")} - {CONFIGS / "tune.yaml"}),
    ids=lambda path: path.stem,
)
def test_every_shipped_config_runs(run: Run, config: Path) -> None:
    if config.stem in example_data.SETS:
        assert example_data.main([config.stem]) == 0
    run("fit", "--config", config, "--trainer.fast_dev_run", "true")


def test_a_continued_run_draws_the_same_dropout(run: Run) -> None:
    dropout = ("--model.dropout", 0.3)
    run("fit", *dropout, "--trainer.max_epochs", 3)
    run("fit", *dropout, "--trainer.max_epochs", 2)
    last = "lightning_logs/version_{}/checkpoints/last.ckpt"
    run("fit", *dropout, "--trainer.max_epochs", 3, "--ckpt_path", last.format(1))
    ours, theirs = weights(Path(last.format(2))), weights(Path(last.format(0)))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_another_optimiser_starts_from_its_own_defaults(run: Run) -> None:
    run("fit", "--optimizer", "Adadelta", *FAST)
    config = yaml.safe_load(Path("lightning_logs/version_0/config.yaml").read_text())
    assert config["optimizer"]["init_args"]["lr"] == 1.0


def test_features_are_found_by_name_whatever_their_order(run: Run) -> None:
    source = long_csv(Path("mine.csv"), {f"s{i}": "ab"[i % 2] for i in range(20)})
    run("fit", "--data.source", source, *FAST)
    rows = [line.split(",") for line in source.read_text().splitlines()]
    Path("SWAPPED.CSV").write_text("\n".join(",".join([*r[:3], r[4], r[3]]) for r in rows))
    last = "lightning_logs/version_0/checkpoints/last.ckpt"
    for name in ("mine.csv", "SWAPPED.CSV"):
        run("predict", "--ckpt_path", last, "--data.source", name, "--output", f"{name}.out.csv")
    assert table(Path("mine.csv.out.csv")) == table(Path("SWAPPED.CSV.out.csv"))


def test_epochs_without_validation_show_none(run: Run) -> None:
    printed = run("fit", "--data.val_size", 80, "--trainer.check_val_every_n_epoch", 2,
                  "--trainer.max_epochs", 3)  # fmt: skip
    assert "val loss / accuracy" in printed
    lines = [line for line in printed.splitlines() if re.match(r" +\d  ", line)]
    assert [" / " in line for line in lines] == [False, True, False]


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_users_add_callbacks_and_switch_loggers_off(run: Run) -> None:
    run("fit", "--trainer.callbacks", "ModelCheckpoint", *FAST)
    for _ in range(2):
        run("fit", "--trainer.logger", "false", *FAST)
    assert not Path("config.yaml").exists()


def test_names_with_brackets_are_printed_as_they_are(run: Run, last_checkpoint: Path) -> None:
    printed = run("predict", "--ckpt_path", last_checkpoint, "--output", "o[red]/[/red].csv")
    assert "o[red]/[/red].csv" in printed


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one line with which a command refuses its input; it leaves nothing behind."""
    before = sorted(Path().rglob("*"))
    assert main([str(argument) for argument in arguments]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert sorted(Path().rglob("*")) == before
    return message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--data.source", "nope.csv"], "nope.csv: no such file"),
        (["--data.source", "nonsense"], "Unknown data source 'nonsense'"),
        (["--data.source", "."], "is a directory"),
        (["--data.source", "aeon:Nope"], "JapaneseVowels"),
        (["--data.train_size", "2000"], "train_size 2000"),
        (["--data.train_size", "0"], "no training sequences"),
        (["--data.val_size", "-1"], "val_size -1"),
        (["--data.val_size", "1"], "no sequences to train on"),
        (["--data.train_size", ".inf"], "train_size inf"),
        (["--data.seed", "-1"], "seed -1"),
        (["--trainer.accelerator", "cpu", "--trainer.devices", "40"], "40 of them cannot share"),
        (["--checkpoint.keep", "0"], "keep 0: expected at least 1"),
        (["--trainer.default_root_dir", "new/run", "--data.source", "no.csv"], "no.csv"),
        (["--data.batch_size", "0"], "batch_size 0"),
        (["--trainer.max_epochs", "many"], "trainer.max_epochs"),
        (["--trainer.accelerator", "tpu"], "torch_xla"),
        (["--optimizer", "Nonsense"], "Nonsense"),
        (["--optimizer", "KerasAdam", "--optimizer.lr", "-1"], "-1"),
        (["--model.hidden_size", "0"], "hidden_size"),
        (["--nonsense", "1"], "unrecognized arguments: --nonsense"),
        (["--config", "nope.yaml"], "nope.yaml"),
        (["--ckpt_path", "nope.ckpt"], "nope.ckpt: does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_fit_refuses_bad_settings_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert expected in refused(capsys, "fit", *arguments)


def test_an_unwritable_output_directory_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken").touch()
    message = refused(capsys, "fit", "--trainer.default_root_dir", "taken/run")
    assert "taken/run: cannot be written to" in message


def test_one_class_only_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    source = long_csv(Path("one.csv"), {f"s{i}": "same" for i in range(5)})
    assert "'same'" in refused(capsys, "fit", "--data.source", source)


def test_a_class_that_only_the_test_part_has_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    labels = {f"s{i}": "ab"[i % 2] for i in range(9)} | {"late": "surprise"}
    source = long_csv(Path("late.csv"), labels)
    message = refused(capsys, "fit", "--data.source", source)
    assert "'surprise'" in message
    assert "late.csv" in message


def test_parts_with_other_features_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    labels = {f"s{i}": "ab"[i % 2] for i in range(9)}
    long_csv(Path("train.csv"), labels, "ab")
    long_csv(Path("test.csv"), labels, "abc")
    arguments = ("fit", "--data.source", "train.csv", "--data.test_source", "test.csv")
    message = refused(capsys, *arguments)
    assert "test.csv: has the 3 features a, b, c" in message


@pytest.mark.parametrize("damage", ["truncated", "foreign", "text", "directory", "other format"])
def test_a_checkpoint_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str], last_checkpoint: Path, damage: str
) -> None:
    path = Path("bad.ckpt")
    match damage:
        case "truncated":
            path.write_bytes(last_checkpoint.read_bytes()[:5000])
        case "foreign":
            torch.save({"state_dict": {}}, path)
        case "text":
            path.write_text("hello")
        case "directory":
            path.mkdir()
        case "other format":
            saved = torch.load(last_checkpoint, weights_only=True)
            torch.save(saved | {"grulight_format": 99}, path)
    assert "bad.ckpt: " in refused(capsys, "test", "--ckpt_path", path)


def test_data_that_does_not_fit_the_checkpoint_is_refused(
    capsys: pytest.CaptureFixture[str], last_checkpoint: Path
) -> None:
    np.savez("three.npz", x=np.zeros((4, 2, 3)), y=[0, 1, 0, 1])
    message = refused(capsys, "test", "--ckpt_path", last_checkpoint, "--data.source", "three.npz")
    assert "three.npz: has 3 features per time step, expected 5" in message


def test_a_run_continues_only_as_what_it_was(
    capsys: pytest.CaptureFixture[str], last_checkpoint: Path
) -> None:
    arguments = ("fit", "--ckpt_path", last_checkpoint)
    assert "nothing is left to train" in refused(capsys, *arguments)
    message = refused(capsys, *arguments, "--trainer.max_epochs", 9, "--model.hidden_size", 8)
    assert "hidden_size=16" in message
    message = refused(capsys, *arguments, "--trainer.max_epochs", 9, "--optimizer", "KerasAdam",
                      "--optimizer.lr", 0.5)  # fmt: skip
    assert "'lr': 0.5" in message


def test_an_epoch_that_a_limit_ended_is_not_continued(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run("fit", "--trainer.max_steps", 30)
    last = "lightning_logs/version_0/checkpoints/last.ckpt"
    assert "within epoch 2" in refused(capsys, "fit", "--ckpt_path", last)


def test_prediction_takes_no_limits(
    capsys: pytest.CaptureFixture[str], last_checkpoint: Path
) -> None:
    arguments = ("predict", "--ckpt_path", last_checkpoint, "--trainer.limit_predict_batches", 2)
    assert "answers for every sequence" in refused(capsys, *arguments)


def test_a_checkpoint_without_training_or_weights_is_refused(
    capsys: pytest.CaptureFixture[str], last_checkpoint: Path
) -> None:
    saved = torch.load(last_checkpoint, weights_only=True)
    ported = {name: value for name, value in saved.items() if name != "loops"}
    torch.save(ported, "ported.ckpt")
    assert "--model.from_keras" in refused(capsys, "fit", "--ckpt_path", "ported.ckpt")
    torch.save(saved | {"state_dict": {}}, "empty.ckpt")
    assert "do not fit" in refused(capsys, "test", "--ckpt_path", "empty.ckpt")


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_commands_on_a_checkpoint_ask_for_one(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert "ckpt_path" in refused(capsys, command)


def test_predictions_need_a_known_suffix(
    capsys: pytest.CaptureFixture[str], last_checkpoint: Path
) -> None:
    arguments = ("predict", "--ckpt_path", last_checkpoint, "--output", "labels.xlsx")
    assert "labels.xlsx" in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xd2\x00", "is not a YAML file"),
        (b"a: [b", "is not a YAML file"),
        (b"just text", "holds no settings"),
        (b"[1, 2]", "holds no settings"),
        (b"", "holds no settings"),
        (b"model:\n  offset: [1, 2]\n", "model.offset: the data decide it; --data.offset"),
    ],
)
@pytest.mark.parametrize("form", ["--config={}", "--config {}"])
def test_a_config_file_without_settings_is_named(
    form: str, content: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    assert main(["fit", *form.format(path).split(" ")]) == 2
    said = capsys.readouterr().err
    assert f"{path}" in said
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--model.offset=3", "--data.offset is the option"),
        ("--model.input_size=3", "leave it out"),
        ("--model.feature_names=[a]", "--data.features is the option"),
        ("--model.mean=[1]", "--data.standardize is the option"),
    ],
)
def test_what_the_data_decide_is_no_option_of_the_model(
    option: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", option]) == 2
    said = capsys.readouterr().err
    assert f"{option.partition('=')[0]}: the data decide it; {words}." in said


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--data.offset=[1,2,3,4,5]", "--data.offset 1.0, 2.0, 3.0, 4.0, 5.0: this checkpoint"),
        ("--data.features=[a,b,c,d,e]", "--data.features a, b, c, d, e: this checkpoint"),
        ("--data.class_names=[up,down,other]", "--data.class_names up, down, other: this"),
    ],
)
def test_what_a_checkpoint_decides_is_not_replaced_without_a_word(
    command: str, option: str, words: str, last_checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main([command, "--ckpt_path", str(last_checkpoint), option]) == 2
    assert words in capsys.readouterr().err
