import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))

import picture

from grulight.trace.gates import walk
from grulight.trace.past_run import Run, load_run


@pytest.fixture(scope="module")
def run_of_fit(last_checkpoint: Path) -> Run:
    return load_run(last_checkpoint)


def test_picture_of_a_run_is_one_small_png(last_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "gates.png"
    assert picture.main([str(last_checkpoint), "-o", str(path)]) == 0
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 50
    assert path.stat().st_size < 60_000


def test_chosen_sequence_is_named_right_and_was_in_doubt_on_the_way(run_of_fit: Run) -> None:
    position = picture.chosen(run_of_fit, None)
    test = run_of_fit.parts.test
    shares = picture.probabilities(run_of_fit, walk(run_of_fit.classifier, test, position, 100))
    label = test.labels[position]
    assert shares[-1].argmax() == label
    assert shares[:-1].argmax(axis=1).tolist() != [label] * (len(shares) - 1)


def test_sequence_is_found_by_its_id(run_of_fit: Run) -> None:
    assert picture.chosen(run_of_fit, str(run_of_fit.parts.test.ids[7])) == 7


def test_unknown_sequence_gets_one_line(
    last_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gates.png"
    assert picture.main([str(last_checkpoint), "--sequence", "no such", "-o", str(path)]) == 2
    assert "has no sequence 'no such'" in capsys.readouterr().err
    assert not path.exists()


def test_labels_of_lines_keep_their_distance_and_their_order() -> None:
    heights = picture.apart(np.array([0.94, 0.04, 0.02]), 0.06)
    np.testing.assert_allclose(heights, [0.94, 0.08, 0.02])
