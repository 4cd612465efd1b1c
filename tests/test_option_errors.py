"""What the command line says of a wrong option: which, its value, what was expected instead."""

from pathlib import Path

import pytest

from grulight.cli import main


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--trainer.max_epochs abc", "--trainer.max_epochs abc: expected a whole number."),
        ("--data.batch_size 1.5", "--data.batch_size 1.5: expected a whole number."),
        ("--model.hidden_size 1.5", "--model.hidden_size 1.5: expected a whole number."),
        ("--data.train_size abc", "--data.train_size abc: expected a number."),
        ("--trainer.gradient_clip_val abc", "--trainer.gradient_clip_val abc: expected a number."),
        ("--data.standardize maybe", "--data.standardize maybe: expected true or false."),
        ("--data.features u,v", "--data.features u,v: expected a list such as [a, b]."),
        (
            "--model.kernel nmba",
            "--model.kernel nmba: expected one of auto, torch, numba, triton. Did you mean numba?",
        ),
        ("--data.split stratfied", "group. Did you mean stratified?"),
        ("--trainer.precision 8", "--trainer.precision 8: expected one of 64, 32, 16"),
        (
            "--model.class_weight abc",
            "abc: expected balanced or a mapping such as {a: 1}.",
        ),
        ("--optimizer Adamm", "--optimizer Adamm: no such class. Did you mean Adam"),
        ("--optimizer KerasAdm", "no such class. Did you mean KerasAdam"),
        ("--optimizer my.module.Adam", "my.module.Adam: cannot be used (No module named 'my')."),
        ("--optimizer.lrr 1", "--optimizer.lrr: KerasAdam has no such option. Did you mean --opti"),
        ("--optimizer Adam --optimizer.lr abc", "--optimizer.lr abc: expected a number."),
        ("--lr_scheduler CosineAnealingLR", "Did you mean CosineAnnealingLR or"),
        (
            "--lr_scheduler CosineAnnealingLR",
            "--lr_scheduler CosineAnnealingLR: needs --lr_scheduler.T_max.",
        ),
        (
            "--trainer.callbacks EarlyStoping",
            "--trainer.callbacks EarlyStoping: no such class. Did you mean EarlyStopping?",
        ),
        (
            "--trainer.callbacks EarlyStopping --trainer.callbacks.patience abc",
            "--trainer.callbacks.patience abc: expected a whole number.",
        ),
        ("--data.sorce x", "--data.sorce x. Did you mean --data.source"),
        ("--batch_size 3", "Did you mean --data.batch_size?"),
        ("--epochs 3", "--trainer.max_epochs?"),
        ("--lr 0.1", "Did you mean --optimizer.lr?"),
        ("mine.csv", "mine.csv. Did you mean --data.source before it?"),
        ("--lr_schedular StepLR", "--lr_schedular StepLR. Did you mean --lr_scheduler?"),
        ("--optimiser.betas 3", "Did you mean --optimizer.betas?"),
        ("--data.featurs [u]", "Did you mean --data.features?"),
        ("--lr_scheduler.T_max 3", "choose one first, as --lr_scheduler CLASS."),
        ("--trainer.callbacks.patience 3", "choose one first, as --trainer.callbacks CLASS."),
        (
            "--lr_scheduler ReduceLROnPlateau --lr_scheduler.patienc 3",
            "ReduceLROnPlateau has no such option. Did you mean --lr_scheduler.patience?",
        ),
        ("--optimizer collections.Counter", "--optimizer collections.Counter: is no Optimizer."),
        ("--trainer.callbacks collections.Counter", "collections.Counter: is no Callback."),
        ("--data.class_names a", "--data.class_names a: expected a list such as [a, b]."),
        (
            "--data mine.csv",
            "--data mine.csv: is no file of settings. Did you mean --data.source mine.csv?",
        ),
        ("--trainer.devices 1.5", "`devices` selected with `CPUAccelerator` should be an int > 0"),
        ("--trainer.check_val_every_n_epoch 0", "every_n_epoch 0: expected at least 1."),
        ("--trainer.val_check_interval 0", "--trainer.val_check_interval 0: expected more than 0."),
        (
            "--trainer.callbacks EarlyStopping --trainer.callbacks.monitor train_loss "
            "--trainer.callbacks.mode up",
            "EarlyStopping: cannot be used (`mode` can be min, max, got up).",
        ),
        ("--config nope.yaml", "--config: File does not exist"),
        ("--config wrong.yaml", "'data' does not accept option 'sorce'. Did you mean data.source?"),
        ("--config typed.yaml", "--data.batch_size many: expected a whole number."),
    ],
)
def test_a_wrong_option_is_a_line_that_says_what_was_expected(
    options: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("wrong.yaml").write_text("data: {sorce: x}\n")
    Path("typed.yaml").write_text("data: {batch_size: many}\n")
    assert main(["fit", *options.split()]) == 2
    assert not Path("lightning_logs").exists()
    [line] = capsys.readouterr().err.splitlines()
    assert says in line
    assert len(line) < 300
    assert not any(
        word in line for word in ("<class", "Union", "typing.", "Parser key", "Subtypes")
    )


@pytest.mark.parametrize("options", ["--trainer.foo 1", "--foo", "--nonsense 1"])
def test_what_is_like_no_option_gets_no_suggestion(
    options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *options.split()]) == 2
    assert "Did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("test", "the following arguments are required: --ckpt_path"),
        ("pack a.csv", "the following arguments are required: -o/--output"),
        ("pack a.csv -o d --separater ;", "Did you mean --separator?"),
        ("pack a.csv -o d --encoding", "argument --encoding: expected one argument"),
        ("trace a.ckpt --foo", "unrecognized arguments: --foo"),
        ("export a.ckpt -o m.onnx --lenghts", "Did you mean --lengths?"),
        ("port a.h5", "the following arguments are required: -o/--output"),
        ("fit --data.source https://example.org/a.csv", "Download it, and name your copy."),
        ("pack s3://bucket/a -o d", "s3://bucket/a: is an address"),
        ("trace s3://bucket/a.ckpt", "s3:/bucket/a.ckpt: is an address"),
        ("port gs://bucket/a.h5 -o a.ckpt", "gs:/bucket/a.h5: is an address"),
    ],
)
def test_every_command_refuses_its_arguments_in_a_line(
    command: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert says in line


def test_an_optimizer_of_ones_own_may_need_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own_optimizer.py").write_text(
        "from torch.optim import SGD\n\n\n"
        "class Own(SGD):\n"
        "    def __init__(self, params, lr: float) -> None:\n"
        "        super().__init__(params, lr=lr)\n"
    )
    monkeypatch.syspath_prepend(".")
    short = ["fit", "--trainer.max_epochs", "1", "--optimizer", "own_optimizer.Own"]
    assert main(short) == 2
    assert "--optimizer Own: needs --optimizer.lr." in capsys.readouterr().err
    assert main([*short, "--optimizer.lr", "0.1"]) == 0
    assert main(["fit", "--optimizer.lr", "0.1", *short[1:]]) == 0


def test_a_class_that_is_a_dict_too_is_asked_for_its_own_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own_callback.py").write_text(
        "from lightning.pytorch import Callback\n\n\n"
        "class Own(dict, Callback):\n"
        "    def __init__(self, patience: int = 1) -> None:\n"
        "        super().__init__()\n"
    )
    monkeypatch.syspath_prepend(".")
    given = ["--trainer.callbacks+=own_callback.Own", "--trainer.callbacks.patienc=3"]
    assert main(["fit", *given]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("Own has no such option. Did you mean --trainer.callbacks.patience?")
