"""``trace.html``: a run on one page that needs nothing else."""

from collections.abc import Sequence
from pathlib import Path

from grulight.data.splitting import Parts
from grulight.model import GRUNet
from grulight.trace import commentary
from grulight.trace.answers import Answers
from grulight.trace.inference import ask
from grulight.trace.layers import layer_rows
from grulight.trace.prediction import prediction
from grulight.trace.recorder import Epoch
from grulight.trace.stages import record_stages
from grulight.trace.templates import Context, write_template
from grulight.trace.training import curves, epoch_words, original, shown_epochs
from grulight.training.classifier import GRUClassifier

_TEMPLATE = Path(__file__).parent / "page.html.j2"


def write_page(
    path: str | Path,
    classifier: GRUClassifier,
    parts: Parts,
    epochs: Sequence[Epoch] = (),
    *,
    name: str = "",
    sequence: str | None = None,
) -> None:
    """Write the page of a trained classifier.

    Args:
        path: The file; appears whole or not at all.
        classifier: Who is shown; its mode is as before afterwards.
        parts: Its data.
        epochs: What its training recorded, if anything.
        name: What the classifier came from.
        sequence: Id of a sequence to show besides those that are chosen.

    Raises:
        InputError: There is no such sequence, or the file cannot be written.
    """
    training = classifier.training
    classifier.eval()
    try:
        context = _context(classifier, parts, epochs, sequence)
    finally:
        classifier.train(training)
    write_template(
        path,
        _TEMPLATE,
        name=name,
        percent=commentary.percent,
        capital=commentary.capital,
        **context,
    )


def _context(
    classifier: GRUClassifier, parts: Parts, epochs: Sequence[Epoch], sequence: str | None
) -> Context:
    answers = ask(classifier, parts)
    kind = "GRU" if isinstance(classifier.network, GRUNet) else "ported Keras model"
    context: Context = {
        "title": f"A {kind} {commentary.headline(answers, epochs)}",
        "lead": commentary.lead(classifier, answers, epochs, parts.train),
        "answers": answers,
        "stages": record_stages(classifier, parts),
        "layers": layer_rows(classifier.network, classifier.head),
        "ported": not isinstance(classifier.network, GRUNet),
        "balance": answers.balance(parts),
        "trace": None,
    }
    data, training = _training(epochs, answers)
    if answers.finite:
        found, sequences = prediction(classifier, parts, answers, sequence)
        context |= {
            "insight": commentary.insight(classifier, answers),
            "questions": commentary.questions(classifier, answers, epochs, len(parts.train)),
            "trace": found,
            "found": answers.evaluation(),
        }
        data["trace"] = sequences
    return context | training | {"data": data}


def _training(epochs: Sequence[Epoch], answers: Answers) -> tuple[Context, Context]:
    """Return what the script steps through, and what the template says."""
    shown = shown_epochs(epochs)
    drawn = curves(shown, answers)
    data = {
        "epochs": [epoch_words(epoch, answers.metric) for epoch in shown],
        "curves": [{"at": each.at, "values": each.values} for each in drawn],
    }
    return data, {
        "epochs": shown,
        "total_epochs": len(epochs),
        "originals": [original(epoch, answers.part.source) for epoch in shown],
        "validates": any("val_loss" in epoch.metrics for epoch in shown),
        "moving_rate": len(drawn) > 2,
        "curves": drawn,
    }
