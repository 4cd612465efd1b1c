"""What is advised where a layer is not supported: only what works, in the words that were typed."""

import re
from pathlib import Path
from typing import Any

import kerasbytes as kb
import pytest
import torch
from torch import Tensor

from grulight import cli
from grulight.errors import InputError, listed, option, options_called
from grulight.keras_files.port import load_keras
from parity.__main__ import main as parity

Config = dict[str, Any]
EVIL = kb.layer("MyAttention", name="evil")
DROPOUT = kb.layer("Dropout", name="dropout", rate=0.1)


def chain(*layers: Config) -> Config:
    """Return a Sequential whose first layer reads (5, 4)."""
    first, *rest = layers
    first = {**first, "config": {**first["config"], "batch_input_shape": [None, 5, 4]}}
    return {"class_name": "Sequential", "config": {"name": "s", "layers": [first, *rest]}}


def graph(*calls: tuple[Config, list[list[str]]]) -> Config:
    """Return a Functional from x (5, 4) to the last layer: layers, and what each call reads."""
    first = kb.layer("InputLayer", name="x", batch_input_shape=[None, 5, 4])
    entries = [{**first, "name": "x", "inbound_nodes": []}]
    for layer, nodes in calls:
        read = [[[*name.split("#"), 0, {}] for name in names] for names in nodes]
        nodes_of = [[[name, int(at), zero, {}] for name, at, zero, _ in node] for node in read]
        entries.append({**layer, "name": layer["config"]["name"], "inbound_nodes": nodes_of})
    last = calls[-1]
    config: Config = {"name": "f", "layers": entries, "input_layers": [["x", 0, 0]]}
    config["output_layers"] = [[last[0]["config"]["name"], len(last[1]) - 1, 0]]
    return {"class_name": "Functional", "config": config}


def saved(folder: Path, model: Config) -> Path:
    return kb.saved(folder, kb.legacy(model, {}, version="2.15.0"))


INSIDE = chain(DROPOUT, kb.layer("TimeDistributed", name="td", layer=chain(EVIL)))
TWICE_READ = graph((DROPOUT, [["x#0"]]), (EVIL, [["dropout#0", "dropout#0"]]))
TWICE_CALLED = graph((DROPOUT, [["x#0"]]), (EVIL, [["dropout#0"], ["evil#0"]]))
BRANCHES = graph(
    (DROPOUT, [["x#0"]]),
    (EVIL, [["x#0"]]),
    (kb.layer("Add", name="add"), [["dropout#0", "evil#0"]]),
)


@pytest.mark.parametrize(
    ("model", "place"),
    [(chain(DROPOUT, EVIL), "evil"), (INSIDE, "td/evil"), (TWICE_READ, "evil")],
    ids=["at the end", "inside another layer", "that reads a tensor twice"],
)
def test_advised_cut_gives_one_tensor(model: Config, place: str, tmp_path: Path) -> None:
    path = saved(tmp_path, model)
    with pytest.raises(InputError, match=f"up_to='{place}' ports the part before it") as refusal:
        load_keras(path)
    answer = load_keras(path, up_to=place)(torch.ones(2, 5, 4))
    assert isinstance(answer, Tensor)
    assert answer.shape == (2, 5, 4)
    assert "carr" not in str(refusal.value)


@pytest.mark.parametrize(
    "model", [chain(EVIL, DROPOUT), TWICE_CALLED, BRANCHES], ids=["first", "twice", "beside"]
)
def test_nothing_is_advised_where_nothing_works(model: Config, tmp_path: Path) -> None:
    path = saved(tmp_path, model)
    with pytest.raises(InputError, match="'evil' is a 'MyAttention', which is not") as refusal:
        load_keras(path)
    assert "up_to" not in str(refusal.value)


def test_layer_with_code_is_told_apart_from_one_that_is_not_supported(tmp_path: Path) -> None:
    model = chain(DROPOUT, kb.layer("Lambda", name="evil"))
    with pytest.raises(InputError, match="'Lambda', which carries code of its own"):
        load_keras(saved(tmp_path, model))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("port {} -o out.ckpt", r"\. --up-to evil ports"),
        ("fit --model.from_keras {}", r"\. grulight port --up-to evil ports"),
    ],
)
def test_advice_names_the_option_of_the_command(
    command: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, chain(DROPOUT, EVIL))
    assert cli.main(command.format(path).split()) == 2
    said = capsys.readouterr().err
    assert re.search(words, said)
    assert "up_to" not in said


def test_proof_advises_the_command_that_can_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parity(["check", str(saved(tmp_path, chain(DROPOUT, EVIL)))]) == 2
    assert ". grulight port --up-to evil ports" in capsys.readouterr().err


def test_unknown_place_is_answered_with_the_nearest_layers(tmp_path: Path) -> None:
    names = ["encoder", "decoder", *(f"layer_{n}" for n in range(60))]
    path = saved(
        tmp_path, chain(*({**DROPOUT, "config": {**DROPOUT["config"], "name": n}} for n in names))
    )
    with pytest.raises(InputError, match=r"up_to='encodr': .*62 such as 'encoder'") as refusal:
        load_keras(path, up_to="encodr")
    assert "layer_9'" not in str(refusal.value)


def test_place_with_nothing_before_it_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="up_to='evil': nothing lies before it"):
        load_keras(saved(tmp_path, chain(EVIL, DROPOUT)), up_to="evil")


def test_options_are_named_as_typed_only_while_a_command_runs() -> None:
    with options_called({"up_to": "--up-to"}):
        assert option("up_to", "a b") == "--up-to 'a b'"
        assert option("up_to") == "--up-to"
    assert option("up_to", "a b") == "up_to='a b'"


def test_long_lists_show_the_names_nearest_to_what_was_asked() -> None:
    names = [f"feature_{n}" for n in range(500)]
    assert listed(names[:3]) == "feature_0, feature_1, feature_2"
    assert listed([*names, "pressure"], like=["presure"]).startswith("pressure, feature_0")
    assert listed(names).endswith("feature_7 and 492 more")
