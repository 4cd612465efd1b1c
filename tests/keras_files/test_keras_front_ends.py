"""Layers that turn text into ids are cut away, said so, and their words name the ids."""

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from theirs import KERAS_3, Flavour, built, keras_2, quietly

import grulight
from grulight.errors import InputError
from grulight.keras_files.reader.vocabulary import MAX_LETTERS, words_of
from parity.keras_files.check import check_file

TEXTS = np.array(["the cat sat", "a dog ran", "the dog sat on a cat"])
NAMES = ("", "[UNK]", "the", "sat", "dog", "cat", "a", "ran", "on")
KERASES = pytest.mark.parametrize("k", [KERAS_3, keras_2()], ids=["keras 3", "tf_keras"])


def reads_text(k: Flavour, **settings: Any) -> Any:
    """Return a model that reads texts."""
    k.fresh("float32")
    text = k.TextVectorization(max_tokens=20, output_sequence_length=6, **settings)
    text.adapt(TEXTS)
    layers = [k.Embedding(20, 4, mask_zero=True), k.GRU(3), k.Dense(1, activation="sigmoid")]
    return k.Sequential([k.Input((1,), dtype="string"), text, *layers])


@KERASES
def test_texts_become_ids_whose_words_are_known(tmp_path: Path, k: Flavour) -> None:
    model = reads_text(k)
    quietly(model.save, tmp_path / "model.keras")
    ported = grulight.load_keras(tmp_path / "model.keras")
    [(name, words)] = ported.id_names.items()
    assert (name,) == ported.input_names
    assert tuple(words) == NAMES == tuple(model.layers[0].get_vocabulary())
    assert any("is cut away: 'input" in line and "9 of them" in line for line in ported.ignored)
    texts = TEXTS[:, None]
    ids = np.array(model.layers[0](texts))
    theirs = np.asarray(quietly(model, KERAS_3.ops.convert_to_tensor(texts)))
    ours = ported(torch.from_numpy(ids)).detach().numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@KERASES
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_lookups_in_front_of_several_inputs(tmp_path: Path, k: Flavour, suffix: str) -> None:
    def build(k: Flavour) -> Any:
        s, n = k.Input((6,), dtype="string", name="s"), k.Input((6,), dtype="int64", name="n")
        ours = k.StringLookup(vocabulary=["a", "b"], mask_token="", num_oov_indices=2)(s)
        theirs = k.IntegerLookup(vocabulary=[5, 7, 9])(n)
        read = [k.GRU(2)(k.Embedding(5, 3)(ids)) for ids in (ours, theirs)]
        return k.Model([s, n], k.Dense(2)(k.Concatenate()(read)))

    quietly(built(build, 1, k).save, tmp_path / f"model.{suffix}")
    ported = grulight.load_keras(tmp_path / f"model.{suffix}")
    assert ported.id_names == {
        "s": ["", "[UNK]", "[UNK]", "a", "b"],
        "n": ["-1", "5", "7", "9"],
    }
    ids = torch.tensor([[0, 1, 2, 3, 4, 0]])
    assert ported(s=ids, n=ids).shape == (1, 2)


def test_port_predict_and_the_page_say_which_id_is_which_word(
    tmp_path: Path, run: Callable[..., str]
) -> None:
    quietly(reads_text(KERAS_3).save, tmp_path / "model.keras")
    data, checkpoint = tmp_path / "data.npz", tmp_path / "model.ckpt"
    x = np.array([[2, 5, 3, 0, 0, 0], [6, 4, 19, 7, 0, 0]] * 10)
    np.savez(data, x=x, y=np.arange(20) % 2)
    said = run("port", tmp_path / "model.keras", "-o", checkpoint)
    assert "0 '', 1 '[UNK]', 2 'the', 3 'sat'" in said
    assert "9 in all" in said
    run("predict", "--ckpt_path", checkpoint, "--data.source", data, "--output", tmp_path / "p.csv")
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 21
    run("trace", checkpoint, "--data", data, "--sequence", "1", "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    held = re.search(r'id="data">(.*?)</script>', page, re.S)
    assert held
    [sequence, *_] = json.loads(held[1])["trace"]["sequences"]
    assert sequence["words"][:4] == ["a", "dog", "", "ran"]


def test_a_text_layer_that_counts_words_is_refused(tmp_path: Path) -> None:
    k = KERAS_3.fresh("float32")
    text = k.TextVectorization(max_tokens=20, output_mode="multi_hot")
    text.adapt(TEXTS)
    model = k.Sequential([k.Input((1,), dtype="string"), text, k.Dense(2)])
    quietly(model.save, tmp_path / "model.keras")
    with pytest.raises(InputError, match="is a 'TextVectorization', which"):
        grulight.load_keras(tmp_path / "model.keras")


def test_a_file_of_words_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("secret\n")

    def build(k: Flavour) -> Any:
        s = k.Input((6,), dtype="string")
        return k.Model(s, k.GRU(2)(k.Embedding(9, 3)(k.StringLookup(vocabulary=["a"])(s))))

    quietly(built(build, 1).save, tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as old:
        members = {name: old.read(name) for name in old.namelist()}
    config = members["config.json"].replace(
        b'"vocabulary": ["a"]', f'"vocabulary": "{tmp_path}/words.txt"'.encode()
    )
    assert config != members["config.json"]
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as new:
        for name, content in (members | {"config.json": config}).items():
            new.writestr(name, content)
    ported = grulight.load_keras(tmp_path / "other.keras")
    assert ported.id_names == {}
    assert "none of them with a name" in " ".join(ported.ignored)


def test_words_are_bounded_and_shown_as_text() -> None:
    found = words_of(b"a\r\n" + b"x" * 1000 + b"\n\x1b[2J\xff\n")
    assert found == ("a", "x" * MAX_LETTERS, "\x1b[2J\ufffd")


@pytest.mark.slow
def test_what_follows_the_text_is_proven(tmp_path: Path) -> None:
    model = reads_text(KERAS_3)
    quietly(model.save, tmp_path / "model.keras")
    result = check_file(tmp_path / "model.keras")
    assert result.verdict == "the same"
