"""Who bears witness beside today's Keras: NumPy by itself, and Keras 2 on files of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grulight.keras_files.reader.untrusted_text import Json
from parity.compare import compare
from parity.keras_files import numpy_chain
from parity.keras_files.edge_inputs import MASKED, edges
from parity.keras_files.file_questions import OWN, STATISTICS, FileQuestions
from parity.question import Arrays, Question, Side
from parity.result import Implementation
from parity.tolerances import FLOAT64_BOUND, STATISTICS_BOUND, conditioned_bound, noise_floor


@dataclass(frozen=True)
class Statement:
    """What a witness says of a file, which it has read by itself.

    Attributes:
        name: Who, for reports.
        answers: Questions with the outputs, or with moving statistics after a training.
    """

    name: str
    answers: tuple[tuple[Question, Arrays], ...]


def statements(
    path: Path,
    config: str | Path | None,
    settings: dict[str, Json],
    questions: FileQuestions,
    ours: Side,
) -> list[Statement]:
    """Return what each witness says that can follow the file.

    Args:
        path: The file.
        config: The model's JSON, for a file of weights alone.
        settings: The model's configuration.
        questions: What can be asked.
        ours: The port, for which random weights are chosen.
    """
    own, random, found = questions.own(), questions.random(ours), []
    if (second := numpy_chain.witness(path, config, own)) is not None:
        answers = (own, second(own, own=True)), (random, second(random, own=False))
        found.append(Statement("NumPy", answers))
    if config is not None:
        return found
    # TensorFlow takes seconds
    from parity.keras_files.keras_2_witness import keras_2

    if (third := keras_2(path, settings, own)) is not None:
        masked = [
            each for each in edges(questions.graph, questions.inputs, own) if each.name == MASKED
        ]
        trains = questions.moves and questions.settings["trained"]
        asked = [own, *masked, *([questions.statistics()] if trains else [])]
        said = [(each, third(each)) for each in asked]
        kept = [(q, a) for q, a in said if a and all(np.isfinite(v).all() for v in a.values())]
        found.append(Statement(third.name, tuple(kept)))
    return found


def judged(statement: Statement, sides: Mapping[str, Side], theirs: str) -> list[Implementation]:
    """Compare the answers of both sides with what a witness says.

    Args:
        statement: What it says.
        sides: Both sides by name.
        theirs: Which of them is Keras, whose noise bounds numbers that nobody chose.
    """
    found = []
    for question, expected in statement.answers:
        for name, side in sides.items():
            answer = side(question)
            outputs = {tensor: answer[tensor] for tensor in expected}
            worst = max(compare(outputs, expected), key=lambda each: each.relative)
            bound = STATISTICS_BOUND if question.name == STATISTICS else FLOAT64_BOUND
            if worst.relative > bound and question.name in (OWN, MASKED):
                floors = noise_floor(sides[theirs], question, sides[theirs](question))
                bound = max(bound, conditioned_bound(floors[worst.tensor]))
            case = f"{question.name}, by {statement.name}"
            found.append(Implementation(name, case, worst.relative, worst.tensor, bound=bound))
    return found
