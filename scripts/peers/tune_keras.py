"""A process of Keras Tuner on JAX: the chief, who hands trials out, or one who trains."""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from work import load


def main(path: str, directory: str, trials: int, epochs: int, seed: int) -> None:
    """Search until all trials are done; the environment says which process this is."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras
    import keras_tuner
    from keras_fit import network

    work = load(path)
    count = len(work.x) * 4 // 5
    finished = Path(directory) / f"{os.environ['KERASTUNER_TUNER_ID']}.jsonl"

    def build(settings: keras_tuner.HyperParameters) -> keras.Model:
        hidden = settings.Int("hidden_size", 8, 32, sampling="log")
        weights = {"gru.weight_hh_l0": np.zeros((3 * hidden, hidden))}
        model = network(replace(work, weights=weights | {"head.bias": np.zeros(work.classes)}))
        lr = settings.Float("lr", 1e-3, 1e-1, sampling="log")
        optimizer = keras.optimizers.Adam(lr)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    class Tuner(keras_tuner.RandomSearch):
        def run_trial(self, *arguments: Any, **options: Any) -> Any:
            histories = super().run_trial(*arguments, **options)
            value = min(min(each.history["val_loss"]) for each in histories)
            with finished.open("a") as file:
                print(json.dumps({"at": time.time(), "value": value}), file=file)
            return histories

    tuner = Tuner(build, "val_loss", max_trials=trials, seed=seed, directory=directory)
    tuner.search(
        work.x[:count], work.y[:count], validation_data=(work.x[count:], work.y[count:]),
        batch_size=work.batch, epochs=epochs, verbose=0,
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
