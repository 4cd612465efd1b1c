"""Keras on one of its backends: ``model.fit`` and ``predict_on_batch``; or a whole script."""

import os
import sys
from collections.abc import Sequence

from peer_server import Peer, boundary, serve
from work import Array, Work, load


def build(work: Work, arguments: Sequence[str]) -> Peer:
    """Train and predict on the backend that the arguments name."""
    (backend,) = arguments
    os.environ["KERAS_BACKEND"] = backend
    package = __import__(backend)
    import keras

    from grulight.keras_files.layers.layout import network_to_keras

    model = network(work)
    arrays = network_to_keras(work.weights)
    for variable in model.weights:
        name = variable.path.split("/")[-1]
        layer = "dense" if "dense" in variable.path else "gru_0/forward"
        variable.assign(arrays[f"{layer}/{name}"])

    class Boundary(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
            boundary()

    def predict(values: Array) -> Array:
        return model.predict_on_batch(values)

    def train() -> None:
        options = {"batch_size": work.batch, "epochs": 10**9, "verbose": 0}
        model.fit(work.x, work.y, callbacks=[Boundary()], **options)

    return Peer(f"keras {keras.__version__}, {backend} {package.__version__}", predict, None, train)


def network(work: Work):  # noqa: ANN201 - Keras is imported after its backend is known
    """Return a fresh compiled model."""
    import keras

    model = keras.Sequential(
        [
            keras.layers.Input(work.x.shape[1:]),
            keras.layers.GRU(work.hidden),
            keras.layers.Dense(work.classes, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def script(work: Work, backend: str) -> None:
    """Do what a run of `grulight fit` does, less its page: train, test, save."""
    os.environ["KERAS_BACKEND"] = backend
    model = network(work)
    model.fit(work.x, work.y, batch_size=work.batch, epochs=5)
    print(model.evaluate(work.x_test, work.y_test))
    model.save("model.keras")


if __name__ == "__main__":
    if sys.argv[2] == "script":
        script(load(sys.argv[1]), sys.argv[3])
    else:
        serve(build)
