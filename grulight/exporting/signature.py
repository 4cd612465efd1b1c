"""What an exported model takes and gives, in words."""

from grulight.errors import listed, option
from grulight.exporting.inputs import Input
from grulight.exporting.subject import Subject
from grulight.heads import ClassHead, LabelHead
from grulight.keras_files.layers.network import trace
from grulight.keras_files.plan.spec import Shape


def signature_of(subject: Subject, suffix: str) -> dict[str, str]:
    """Return inputs, outputs, standardisation and padding, in words."""
    inputs = [f"{each.name} ({_axes(each)})" for each in subject.inputs]
    return {
        "inputs": ", ".join([*inputs, *["lengths (batch)"] * subject.lengths]),
        "output": _outputs(subject, suffix),
        "standardisation": _standardisation(subject),
        "padding": _padding(subject, suffix),
        **_missing(subject),
    }


def _standardisation(subject: Subject) -> str:
    if subject.classifier is None or subject.statistics is None:
        return "none"
    pairs = zip(
        subject.classifier.feature_names, subject.classifier.hparams["offset"] or (), strict=False
    )
    first = [f"{each!r} from {name}" for name, each in pairs if each]
    if not first:
        return "inside"
    return f"inside; float32 cannot hold the raw values: subtract first {listed(first)}"


def _missing(subject: Subject) -> dict[str, str]:
    fill = subject.classifier and subject.classifier.hparams["missing"]
    words = f"not inside: to be filled before, as {option('data.missing', fill)} does"
    return {"missing values": words} if fill else {}


def _axes(given: Input) -> str:
    if given.shape == (None, None, given.shape[-1]) and given.name == "values":
        return "batch, time, feature"
    kinds = {"ids": f"; ids below {given.ids}", "mask": "; true where a step counts"}
    return _sizes(given.shape) + kinds.get(given.kind, "")


def _sizes(shape: Shape) -> str:
    words = ["batch", *("time" if at == 1 else "any" for at in range(1, len(shape)))]
    return ", ".join(w if n is None else str(n) for w, n in zip(words, shape, strict=True))


def _outputs(subject: Subject, suffix: str) -> str:
    if subject.graph is None:
        assert subject.classifier is not None
        head, [name] = subject.classifier.head, subject.outputs
        answers = {ClassHead: "class", LabelHead: "label"}.get(type(head), "value")
        if suffix == ".keras" and head.num_classes and head.size == 1:
            answers = f"1: that of {subject.classifier.class_names[1]}"
        return f"{name} (batch, {'time, ' * head.per_step}{answers})"
    seen = trace(subject.graph, subject.graph.shapes)
    shapes = [seen[ref] for ref in subject.graph.outputs]
    pairs = zip(subject.outputs, shapes, strict=True)
    return ", ".join(f"{name} ({_sizes(shape)})" for name, shape in pairs)


def _padding(subject: Subject, suffix: str) -> str:
    if subject.lengths:
        read = "lengths counts the steps of each sequence that are read, the first ones"
        per_step = subject.classifier is not None and subject.classifier.head.per_step
        return read + "; answers past them mean nothing" * per_step
    if subject.model is not None:
        return "every step is read, but for those that a layer masks"
    more = "; --lengths adds an input for sequences of different lengths"
    return "every step is read" + more * (suffix != ".keras")
