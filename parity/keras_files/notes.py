"""What the reader of a result on a Keras file should know."""

from grulight.keras_files.layers.base import KerasLayer
from grulight.keras_files.ported_model import PortedModel
from parity.keras_files.file_questions import FileQuestions
from parity.keras_files.gru_layers import gru_layers


def notes_of(model: PortedModel, questions: FileQuestions, others: list[str]) -> list[str]:
    """Say how both sides were asked, who else was, and what could not be tried."""
    notes = ["Inputs are random; rungs 4 and 5 start from random weights."]
    if others:
        notes.append(f"Witnesses beside these two, each from the file itself: {', '.join(others)}.")
    if questions.moves:
        notes.append("In rung 5 batches are normalised as in training, moving statistics compared.")
    layers = [each for each in model.modules() if isinstance(each, KerasLayer)]
    if awake := [each.keras_name for each in layers if each.always]:
        notes.append(
            f"The file calls {', '.join(awake)} as in training, where dropout draws anew each "
            "time; here they are compared as in inference."
        )
    if not gru_layers(questions.weights):
        notes.append("No GRU in this file, so no wrong port of one can be tried.")
    return notes
