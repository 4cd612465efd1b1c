"""TensorFlow.js' layers models: as it writes them itself, and as its converter does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kerasbytes as kb
import numpy as np
import pytest
import storebytes as sb
import theirs
import torch
from casekit import Case
from cases import CASES

from grulight.errors import InputError
from grulight.keras_files.port import load_keras
from grulight.keras_files.ported_model import PortedModel

WRITTEN_BY_IT = Path(__file__).parent / "tensorflow_js"
# What Keras 2 cannot build or save, and what Keras 3 makes another model of.
NOT_IN = {
    "2": ("activation hard_tanh", "masked beside unmasked", "first feature"),
    "3": ("layers called as in inference",),
}
QUICK = {"2": ("bidirectional concat every step masked",), "3": ("models in a model",)}
CONVERTED = [
    pytest.param(
        *(generation, case),
        id=f"keras {generation} {case.name}",
        marks=() if case.name in QUICK[generation] else (pytest.mark.slow,),
    )
    for generation in NOT_IN
    for case in CASES
    if case.name not in NOT_IN[generation]
]


def same(ours: PortedModel, theirs: PortedModel) -> bool:
    """Return whether two models have the same numbers, bit for bit."""
    left, right = ours.state_dict(), theirs.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in right)


def whole(folder: Path) -> PortedModel:
    """Return the small model as its `.h5` file has it."""
    config, weights = kb.small_model()
    arrays = sb.small_weights()
    named = {
        name: [(n, arrays[n.removesuffix(":0")]) for n, _ in weights[name]] for name in weights
    }
    return load_keras(kb.saved(folder, kb.legacy(config, named), "whole.h5"))


@pytest.fixture
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every small model have the same numbers."""
    _, weights = kb.small_model()
    config = kb.small_model()[0]
    monkeypatch.setattr(kb, "small_model", lambda: (json.loads(json.dumps(config)), weights))


@pytest.mark.parametrize(
    "name", sorted(each.name for each in WRITTEN_BY_IT.iterdir() if each.is_dir())
)
def test_outputs_are_those_of_tensorflow_js(name: str) -> None:
    model = load_keras(WRITTEN_BY_IT / name).eval()
    answers = json.loads((WRITTEN_BY_IT / name / "answers.json").read_text())
    [x] = map(np.array, answers["x"])
    outputs = model(torch.from_numpy(x.astype("int32" if x.dtype.kind == "i" else "float32")))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    for ours, expected in zip(outputs, answers["y"], strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), np.array(expected), rtol=0, atol=1e-6)


def test_optimiser_of_tensorflow_js_is_understood_and_its_state_left_out() -> None:
    model = load_keras(WRITTEN_BY_IT / "trained_model_in_a_model")
    assert "optimizer state" in model.ignored
    assert model.description["compiled"]["optimizer"]["learning_rate"] == 0.01
    assert not any("learningRate" in each for each in model.description["compiled"]["dropped"])


@pytest.mark.parametrize(("generation", "case"), CONVERTED)
def test_converted_model_is_that_of_the_hdf5_file(
    generation: str, case: Case, tmp_path: Path
) -> None:
    if generation == "2":
        pytest.importorskip("tf_keras", reason="Keras 2 is not installed", exc_type=ImportError)
    flavour = theirs.keras_2() if generation == "2" else theirs.KERAS_3
    model, path = theirs.built(case.build, 5, flavour), tmp_path / "model.h5"
    theirs.quietly(model.save, path)
    folder = sb.written(tmp_path / "js", sb.of_hdf5(path, shard=300))
    assert same(load_keras(folder), load_keras(path))


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"groups": 2},
        {"groups": 3},
        {"shard": 7},
        {"shard": 1 << 20},
        {"groups": 5, "shard": 33},
    ],
)
def test_groups_and_shards_are_one_model(settings: dict[str, int], tmp_path: Path) -> None:
    files = sb.small_tensorflow_js(**settings)
    assert same(load_keras(sb.written(tmp_path / "js", files)), whole(tmp_path))


@pytest.mark.usefixtures("seeded")
def test_folder_its_json_and_a_zip_of_it_are_one_model(tmp_path: Path) -> None:
    files, expected = sb.small_tensorflow_js(), whole(tmp_path)
    folder = sb.written(tmp_path / "js", files)
    (folder / "model.json").rename(folder / "my model.json")
    zips = [sb.zipped(files), sb.zipped(files, "some/where/")]
    apple = sb.zipped({**files, "__MACOSX/._model.json": b"x"})
    assert same(load_keras(folder / "my model.json"), expected)
    for content in (*zips, apple):
        assert same(load_keras(kb.saved(tmp_path, content, "js.zip")), expected)


@pytest.mark.usefixtures("seeded")
def test_config_json_of_another_program_beside_it_does_no_harm(tmp_path: Path) -> None:
    files = {**sb.small_tensorflow_js(), "config.json": b'{"theme": "dark"}'}
    assert same(load_keras(sb.written(tmp_path / "js", files)), whole(tmp_path))


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize(
    "topology",
    [
        pytest.param(lambda c: {**c, "keras_version": "2.2.4"}, id="without model_config"),
        pytest.param(lambda c: {"model_config": c, "keras_version": "2.2.4"}, id="with it"),
    ],
)
def test_configuration_may_be_nested_or_not(topology: Callable[..., Any], tmp_path: Path) -> None:
    files = sb.tensorflow_js(topology(sb.small_config()), sb.small_weights())
    assert same(load_keras(sb.written(tmp_path / "js", files)), whole(tmp_path))


@pytest.mark.usefixtures("seeded")
def test_weights_alone_take_a_configuration(tmp_path: Path) -> None:
    folder = sb.written(tmp_path / "js", sb.tensorflow_js(None, sb.small_weights()))
    with pytest.raises(InputError, match="config=FILE"):
        load_keras(folder)
    config = {**sb.small_config(), "keras_version": "2.2.4"}
    assert same(load_keras(folder, config=config), whole(tmp_path))


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("kept", ["uint8", "uint16", "float16"])
def test_quantised_weights_are_what_the_file_keeps_and_said_so(kept: str, tmp_path: Path) -> None:
    model = load_keras(sb.written(tmp_path / "js", sb.small_tensorflow_js(kept=kept)))
    arrays = sb.small_weights()
    held = model.keras_arrays()
    for layer in ("gru", "dense"):
        for name, ours in held[layer].items():
            array = arrays[f"{layer}/{name}"]
            if kept == "float16":
                expected = array.astype("f2").astype("f4")
            else:
                least, scale = float(array.min()), float(np.ptp(array)) / np.iinfo(kept).max
                steps = np.round((array.astype("f8") - least) / scale)
                expected = (steps * scale + least).astype("f4")
            np.testing.assert_array_equal(ours, expected)
    assert any(f"5 arrays were rounded to {kept}" in each for each in model.ignored)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize(
    "named",
    [
        pytest.param(lambda n: n.replace("gru/", "gru/gru_cell_3/"), id="with a cell's name"),
        pytest.param(lambda n: f"sequential/{n}", id="with the model's name"),
        pytest.param(lambda n: n.replace("/", "_7/"), id="as of another building of the model"),
    ],
)
def test_names_of_arrays_lead_to_their_layers(named: Callable[..., str], tmp_path: Path) -> None:
    weights = {named(name): array for name, array in sorted(sb.small_weights().items())}
    order = ["gru/kernel", "gru/recurrent_kernel", "gru/bias"]
    names = ["dense/kernel", "dense/bias", *order]  # as the converter: layers by the alphabet
    weights = {named(name): sb.small_weights()[name] for name in names}
    topology = {"keras_version": "2.2.4", "model_config": sb.small_config()}
    folder = sb.written(tmp_path / "js", sb.tensorflow_js(topology, weights))
    assert same(load_keras(folder), whole(tmp_path))


@pytest.mark.usefixtures("seeded")
def test_names_of_keras_3_are_paths(tmp_path: Path) -> None:
    tree = {**kb.small_tree(), "optimizer/vars/0": np.zeros(3, "f4")}
    topology = {"keras_version": "3.15.1", "model_config": sb.small_config()}
    model = load_keras(sb.written(tmp_path / "js", sb.tensorflow_js(topology, tree)))
    assert same(model, whole(tmp_path))
    assert "optimizer state" in model.ignored


def entry(model: dict[str, Any]) -> dict[str, Any]:
    """Return the first weight of a manifest."""
    return model["weightsManifest"][0]["weights"][0]


def paths(model: dict[str, Any]) -> list[Any]:
    return model["weightsManifest"][0]["paths"]


def quantised(**settings: object) -> Callable[[dict[str, Any]], object]:
    whole = {"dtype": "uint8", "scale": 1.0, "min": 0.0} | settings
    return lambda model: entry(model).update(quantization=whole)


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a graph model": (lambda m: m.update(format="graph-model"), "a graph model of TensorFlow.js"),
    "a graph model without its format": (
        lambda m: m.update(format=None, modelTopology={"node": [], "library": {}}),
        "a graph model of TensorFlow.js",
    ),
    "an absolute path": (lambda m: paths(m).append("/etc/passwd"), "no file inside the folder"),
    "a path that leads up": (lambda m: paths(m).append("../x.bin"), "no file inside the folder"),
    "a path that leads up within": (lambda m: paths(m).append("a/../../x"), "no file inside"),
    "a path of Windows": (lambda m: paths(m).append("C:\\x.bin"), "no file inside the folder"),
    "a URL": (lambda m: paths(m).append("https://example.com/x.bin"), "no file inside"),
    "a shard that is not there": (lambda m: paths(m).append("more.bin"), "'more.bin' is named and"),
    "a shard twice": (lambda m: paths(m).append(f"./{paths(m)[0]}"), "twice"),
    "a shard missing from the list": (lambda m: paths(m).pop(), "takes|expected"),
    "a number for a path": (lambda m: paths(m).append(3), "the path '3'"),
    "an array twice": (
        lambda m: m["weightsManifest"][0]["weights"].append(entry(m)),
        "twice|takes",
    ),
    "an array too many": (
        lambda m: m["weightsManifest"][0]["weights"].append(
            {"name": "more", "shape": [1 << 30], "dtype": "float32"}
        ),
        "takes 4294967296 bytes",
    ),
    "an array missing": (
        lambda m: m["weightsManifest"][0]["weights"].pop(),
        r"hold \d+ bytes, expected",
    ),
    "a negative size": (lambda m: entry(m).update(shape=[3, -12]), "has the shape"),
    "a size that is no number": (lambda m: entry(m).update(shape=[3, True]), "has the shape"),
    "a size beyond all": (lambda m: entry(m).update(shape=[1 << 40, 1 << 40]), "has the shape"),
    "no shape": (lambda m: entry(m).pop("shape"), "has the shape"),
    "another shape": (lambda m: entry(m).update(shape=[12, 3]), "expected \\(3, 12\\)"),
    "texts": (lambda m: entry(m).update(dtype="string"), "has the type 'string'"),
    "objects": (lambda m: entry(m).update(dtype="object"), "has the type 'object'"),
    "integers": (lambda m: entry(m).update(dtype="int32"), "holds no floats"),
    "another quantisation": (quantised(dtype="int8"), "is quantised as 'int8'"),
    "a scale that is no number": (quantised(scale=float("nan")), "quantization scale 'nan'"),
    "an infinite least": (quantised(min=float("inf")), "quantization min 'inf'"),
    "a scale beyond float32": (quantised(scale=3e38), "has the scale"),
    "a scale of texts": (quantised(scale="1.0"), "quantization scale"),
    "a huge integer for a scale": (quantised(scale=10**400), "quantization scale"),
    "no scale": (lambda m: entry(m).update(quantization={"dtype": "uint8"}), "quantization scale"),
    "no manifest": (lambda m: m.pop("weightsManifest"), "lists no weights"),
    "a manifest of numbers": (lambda m: m.update(weightsManifest=[1]), "lists no weights"),
    "a topology of numbers": (lambda m: m.update(modelTopology={"model_config": 3}), "expected a"),
    "names of other layers": (
        lambda m: [
            w.update(name=f"x/{at}k") for at, w in enumerate(m["weightsManifest"][0]["weights"])
        ],
        "no layer takes the array 'x/0k'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_with_a_manifest_is_said_in_one_line(name: str, tmp_path: Path) -> None:
    change, words = REFUSED[name]
    folder = sb.written(tmp_path / "js", sb.changed(sb.small_tensorflow_js(), change))
    with pytest.raises(InputError, match=words) as refusal:
        load_keras(folder)
    assert str(refusal.value).startswith(str(folder))
    assert len(str(refusal.value)) < len(str(folder)) + 500


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = sb.written(tmp_path / "js", sb.small_tensorflow_js())
    shard = folder / "group1-shard1of5.bin"
    shard.rename(tmp_path / "outside.bin")
    shard.symlink_to(tmp_path / "outside.bin")
    with pytest.raises(InputError, match="a link that leads out of the folder"):
        load_keras(folder)
    (tmp_path / "outside.bin").rename(folder / "inside.bin")
    shard.unlink()
    shard.symlink_to("inside.bin")
    load_keras(folder)


def test_two_models_in_a_zip_are_refused(tmp_path: Path) -> None:
    files = sb.small_tensorflow_js()
    both = {f"{top}/{name}": content for top in "ab" for name, content in files.items()}
    with pytest.raises(InputError, match="holds 2 models"):
        load_keras(kb.saved(tmp_path, sb.zipped(both), "two.zip"))


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a folder without config.json"):
        load_keras(tmp_path)


def test_configuration_in_place_of_weights_is_refused(tmp_path: Path) -> None:
    path = kb.saved(tmp_path, json.dumps(sb.small_config()).encode(), "model.json")
    with pytest.raises(InputError, match="JSON without weights"):
        load_keras(path)
