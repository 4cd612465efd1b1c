"""`parity check` of models that come in other files than one of HDF5 or `.keras`."""

from pathlib import Path

import kerasbytes as kb
import numpy as np
import pytest
import storebytes as sb

from parity.keras_files.check import check_file, is_keras_file
from parity.keras_files.names_in_file import named_arrays, said_major

WRITTEN_BY_IT = Path(__file__).parent / "tensorflow_js"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two_grus", "trained_model_in_a_model", "ids_to_lstm"])
def test_what_tensorflow_js_wrote_is_proven(name: str) -> None:
    result = check_file(WRITTEN_BY_IT / name)
    assert result.verdict == "the same"
    assert result.rebuilt


@pytest.mark.slow
@pytest.mark.parametrize("each", [1, 5])
def test_keras_opens_its_shards_itself_and_agrees(each: int, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    model, files = _keras_3()
    config.write_text(model)
    path = sb.written(tmp_path / "shards", sb.shards(files, each)) / "model.weights.json"
    result = check_file(path, config)
    assert result.verdict == "the same"
    assert not result.rebuilt


def _keras_3() -> tuple[str, dict[str, np.ndarray]]:
    """Return the JSON and the arrays of a model."""
    from theirs import KERAS_3, Flavour, built

    def build(k: Flavour) -> object:
        return k.Sequential([k.Input((7, 3)), k.GRU(4), k.Dense(2, activation="softmax")])

    model = built(build, 3, KERAS_3)
    paths = [f"layers/gru/cell/vars/{n}" for n in range(3)]
    paths += [f"layers/dense/vars/{n}" for n in range(2)]
    return model.to_json(), dict(zip(paths, model.get_weights(), strict=True))


def test_folders_shards_and_npz_are_told_from_checkpoints(tmp_path: Path) -> None:
    folder = sb.written(tmp_path / "js", sb.small_tensorflow_js())
    zipped = kb.saved(tmp_path, sb.zipped(sb.small_tensorflow_js(), "top/"), "js.zip")
    npz = kb.saved(tmp_path, sb.npz(sb.grouped(kb.small_tree())), "weights.npz")
    shards = sb.written(tmp_path / "shards", sb.shards(kb.small_tree())) / "model.weights.json"
    for path in (folder, folder / "model.json", zipped, npz, shards):
        assert is_keras_file(path)
    other = kb.saved(tmp_path, sb.zipped({"archive/data.pkl": b"x"}), "last.ckpt")
    assert not is_keras_file(other)
    assert not is_keras_file(tmp_path)


def test_arrays_that_a_manifest_names_are_read_without_the_port() -> None:
    folder = WRITTEN_BY_IT / "ids_to_lstm"
    names = {"gamma": 5, "beta": 5, "moving_mean": 5, "moving_variance": 5}
    layer = "batch_normalization_BatchNormalization1"
    like = {f"{layer}/{name}": np.zeros(size) for name, size in names.items()}
    from grulight.keras_files.port import load_keras

    ours = load_keras(folder).keras_arrays()[layer]
    found = named_arrays(folder, like)
    assert found.keys() == like.keys()
    for name in names:
        np.testing.assert_array_equal(found[f"{layer}/{name}"], ours[name])


def test_version_that_a_folder_says_is_read_without_the_port(tmp_path: Path) -> None:
    assert said_major(WRITTEN_BY_IT / "two_grus") is None  # that of TensorFlow.js is none of Keras'
    assert said_major(sb.written(tmp_path / "js", sb.small_tensorflow_js())) == 2
