"""The tables of real data that a script writes, and what is said of them."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))

import example_data

from grulight.data.datamodule import SequenceDataModule

README = Path(__file__).parent.parent / "grulight" / "data" / "README.md"


@pytest.mark.parametrize("name", example_data.SETS)
def test_the_readme_has_the_scores_of_naive_answers(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert example_data.main([name]) == 0
    lines = re.findall(r"^(.*): ((?:mae|accuracy) .*)$", capsys.readouterr().out, re.M)
    assert len(lines) >= 2
    for answer, scores in lines:
        row = " | ".join((answer, *re.findall(r"-?[\d.]+", scores.replace("r2", ""))))
        assert f"| {row} |" in README.read_text()


def test_conversations_have_a_speaker_for_each_frame_and_keep_the_parts_apart() -> None:
    example_data.main(["conversations"])
    data = SequenceDataModule(
        "conversations.csv", "conversations_test.csv", per_step=True, label="label"
    )
    train, test = data.parts.train, data.parts.test
    assert (len(train), len(test)) == (68, 93)
    assert train.class_names == tuple("123456789")
    for part in (train, test):
        assert part.labels is not None
        turns = [len(np.unique(row[:n])) for row, n in zip(part.labels, part.lengths, strict=True)]
        assert max(turns) <= example_data.TURNS
        assert np.mean(turns) > 2
