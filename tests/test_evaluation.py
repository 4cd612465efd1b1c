from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score

from grulight.trace.confusion_picture import save_confusion_picture
from grulight.training.confusion import scores_of


@pytest.mark.parametrize("present", [(0, 1, 2, 3), (0, 1, 2), (0, 3)])
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_scores_equal_those_of_scikit_learn(present: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    true = generator.choice(present, 50)
    predicted = np.where(generator.random(50) < 0.6, true, generator.integers(0, 4, 50))
    scores = scores_of(confusion_matrix(true, predicted, labels=range(4)))
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, predicted))
    assert scores["macro_f1"] == pytest.approx(f1_score(true, predicted, average="macro"))


def test_picture_is_a_png_and_survives_odd_class_names(tmp_path: Path) -> None:
    path = tmp_path / "new" / "matrix.png"
    save_confusion_picture(np.array([[3, 1], [0, 2]]), ["$x", "a_{b"], path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in path.parent.iterdir()] == ["matrix.png"]
