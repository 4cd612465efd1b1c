"""What an exported model takes and gives, in words."""

from grulight.errors import listed
from grulight.exporting.inputs import Input
from grulight.exporting.subject import Subject
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
        single = suffix == ".keras" and subject.classifier.head.size == 1
        answers = f"1: that of {subject.classifier.class_names[1]}" if single else "class"
        return f"probabilities (batch, {answers})"
    seen = trace(subject.graph, subject.graph.shapes)
    shapes = [seen[ref] for ref in subject.graph.outputs]
    pairs = zip(subject.outputs, shapes, strict=True)
    return ", ".join(f"{name} ({_sizes(shape)})" for name, shape in pairs)


def _padding(subject: Subject, suffix: str) -> str:
    if subject.lengths:
        return "lengths counts the steps of each sequence that are read, the first ones"
    if subject.model is not None:
        return "every step is read, but for those that a layer masks"
    more = "; --lengths adds an input for sequences of different lengths"
    return "every step is read" + more * (suffix != ".keras")
