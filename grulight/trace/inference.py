"""Ask a classifier about its own data, as its kind of head answers."""

from typing import cast

import torch
from torch import Tensor

from grulight.data.batches import Batch, Batches
from grulight.data.splitting import Parts
from grulight.heads import ClassHead, Head, LabelHead, ValueHead
from grulight.trace.answers import Answers
from grulight.trace.class_answers import ClassAnswers
from grulight.trace.label_answers import LabelAnswers
from grulight.trace.sampling import evenly_spaced_sample
from grulight.trace.stages import PARTS
from grulight.trace.value_answers import ValueAnswers
from grulight.training.classifier import GRUClassifier

_BATCH = 256
_KINDS: dict[type[Head], type[Answers]] = {
    ClassHead: ClassAnswers,
    LabelHead: LabelAnswers,
    ValueHead: ValueAnswers,
}


def ask(classifier: GRUClassifier, parts: Parts) -> Answers:
    """Ask about the test part; where it is empty, about validation or training."""
    name, part = next(
        (name, part) for name, part in zip(PARTS[::-1], parts[::-1], strict=True) if len(part)
    )
    head = classifier.head
    positions, chosen = evenly_spaced_sample(part, head.num_names)
    predicted, targets, sequences, loss, start = [], [], [], 0.0, 0
    with torch.inference_mode():
        for batch in Batches(chosen, _BATCH, whole=classifier.network.reads_padding):
            answers, valid = answers_to(classifier, batch)
            labels = cast(Tensor, batch.labels)
            score = head.score(answers, labels, valid)
            if valid is None:
                valid = torch.ones(answers.shape[:-1], dtype=torch.bool)
            predicted.append(head.prediction(answers)[valid])
            targets.append(labels[valid])
            sequences.append(valid.nonzero()[:, 0] + start)
            loss += float(score.loss) * score.counted
            start += len(labels)
    return _KINDS[type(head)](
        name,
        part,
        positions,
        torch.cat(targets).numpy(),
        torch.cat(predicted).numpy(),
        loss / max(sum(map(len, targets)), 1),
        shown_names(classifier),
        torch.cat(sequences).numpy(),
        head.per_step,
        _loss_words(head),
    )


def answers_to(classifier: GRUClassifier, batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Return logits or values of a batch, and which steps count (None for all), on the CPU."""
    like = next(classifier.parameters())
    lengths = None if batch.lengths is None else batch.lengths.to(like.device)
    values = classifier.standardized(batch.values.to(like))
    answers, valid = classifier.network.answers(values, lengths)
    return answers.float().cpu(), None if valid is None else valid.cpu()


def shown_names(classifier: GRUClassifier) -> tuple[str, ...]:
    """Return what the classes, labels or values are called; a bare number says too little."""
    names, head = classifier.class_names, classifier.head
    if head.num_classes or names != tuple(map(str, range(head.size))):
        return names
    word = "label" if isinstance(head, LabelHead) else "value"
    return tuple(f"{word} {name}" for name in names) if head.size > 1 else (word,)


def _loss_words(head: Head) -> str:
    if isinstance(head, ValueHead):
        return f"{head.error.replace('_', ' ')}{', scaled' * bool(head.mean)}"
    binary = isinstance(head, LabelHead) or head.size == 1
    return f"{'binary ' * binary}cross entropy (nats)"
