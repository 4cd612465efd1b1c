"""A configuration becomes the graph that it describes, or is refused by name."""

from typing import Any

import kerasbytes as kb
import pytest

from grulight.errors import InputError
from grulight.keras_files.layers.registry import portable
from grulight.keras_files.plan.graph import parse_model
from grulight.keras_files.plan.parse_context import ParseContext
from grulight.keras_files.plan.spec import Graph, Ref
from grulight.keras_files.reader.versions import KerasVersion

KERAS_2 = ParseContext(KerasVersion.parse("2.4.0", "2"), None, portable)


def node(layer: str, call: int = 0, **words: object) -> list[Any]:
    return [layer, call, 0, words]


def entry(class_name: str, name: str, *calls: list[Any], **config: object) -> dict[str, Any]:
    made = kb.layer(class_name, name=name, **config)
    return made | {"name": name, "inbound_nodes": [call if call else [] for call in calls]}


def source(name: str = "x") -> dict[str, Any]:
    return entry("InputLayer", name, batch_input_shape=[None, 6, 3])


def model(*layers: dict[str, Any], output: str, call: int = 0) -> dict[str, Any]:
    config = {
        "layers": list(layers),
        "input_layers": [["x", 0, 0]],
        "output_layers": [[output, call, 0]],
    }
    return {"class_name": "Functional", "config": config}


def names(graph: Graph) -> list[str]:
    return [call.layer for call in graph.calls]


def test_calls_are_ordered_by_what_they_need() -> None:
    layers = (
        entry("Add", "sum", [node("b"), node("a")]),
        entry("Dense", "b", [node("a")], units=3),
        entry("Dense", "a", [node("x")], units=3),
        entry("Dense", "unused", [node("x")], units=3),
    )
    assert names(parse_model(model(source(), *layers, output="sum"), KERAS_2)) == ["a", "b", "sum"]


def test_nested_models_of_keras_2_count_their_calls_from_one() -> None:
    inner = model(source(), entry("GRU", "g", [node("x")], units=2), output="g")
    nested = inner | {"name": "inner", "inbound_nodes": [[node("x")], [node("y")]]}
    y = entry("Dense", "y", [node("x")], units=3)
    outer = model(source(), y, nested, output="inner", call=2)
    graph = parse_model(outer, KERAS_2)
    assert graph.outputs == (Ref("inner", 1, 0),)
    assert names(graph) == ["y", "inner"]


def test_mask_and_state_given_by_name_are_wired() -> None:
    layers = (
        source("m"),
        source("h"),
        entry("GRU", "g", [["x", 0, 0, {"mask": ["m", 0, 0], "initial_state": ["h", 0, 0]}]]),
    )
    config = model(source(), *layers, output="g")
    config["config"]["input_layers"] = [["x", 0, 0], ["m", 0, 0], ["h", 0, 0]]
    (call,) = parse_model(config, KERAS_2).calls
    assert call.inputs == (Ref("x", 0, 0), Ref("h", 0, 0))
    assert call.masks == (Ref("m", 0, 0),)


def test_model_ends_before_a_layer_that_cannot_be_ported_however_it_is_called() -> None:
    layers = (
        entry("Dense", "a", [node("x")], units=3),
        entry("Lambda", "code", [["a", 0, 0, {"weird": {"deep": ["x", 0, 0]}}]]),
    )
    config = model(source(), *layers, output="code")
    context = ParseContext(KERAS_2.version, "code", portable)
    assert parse_model(config, context).outputs == (Ref("a", 0, 0), Ref("x", 0, 0))
    context = ParseContext(KERAS_2.version, "a", portable)
    assert names(parse_model(config, context)) == ["a"]


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        pytest.param(
            [
                entry("Dense", "a", [node("b")], units=3),
                entry("Dense", "b", [node("a")], units=3),
            ],
            "depends on itself",
            id="cycle",
        ),
        pytest.param([entry("Dense", "b", [node("no")])], "'no' is used but not there", id="gap"),
        pytest.param([entry("Dense", "b"), entry("Dense", "b")], "two layers", id="two names"),
        pytest.param([entry("Dense", "b", [["x", -1, 0]])], "cannot read", id="bad index"),
        pytest.param(
            [entry("Dropout", "b", [node("x", scores=True)])], "'scores' = 'True'", id="words"
        ),
    ],
)
def test_impossible_wiring_is_refused(layers: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_model(model(source(), *layers, output="b"), KERAS_2)


def test_models_nested_without_end_are_refused() -> None:
    inner: dict[str, Any] = {"class_name": "Sequential", "config": [kb.layer("Dense", units=1)]}
    for _ in range(7):
        inner = {"class_name": "Sequential", "config": {"layers": [inner]}}
    with pytest.raises(InputError, match="nested deeper"):
        parse_model(inner, KERAS_2)


def test_calls_that_multiply_are_refused() -> None:
    def twenty(inner: dict[str, Any], name: str) -> dict[str, Any]:
        calls = [[node("x")], *([node(name, call)] for call in range(20))]
        nested = inner | {"name": name, "inbound_nodes": calls}
        return model(source(), nested, output=name, call=20)

    inner = model(source(), entry("Dense", "d", [node("x")], units=3), output="d")
    with pytest.raises(InputError, match=r"makes \d+ calls"):
        parse_model(twenty(twenty(twenty(inner, "a"), "b"), "c"), KERAS_2)


def test_class_of_somebody_s_own_is_refused() -> None:
    with pytest.raises(InputError, match="'MyModel', expected Sequential or Functional"):
        parse_model({"class_name": "MyModel", "config": {}}, KERAS_2)
