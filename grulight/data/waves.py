"""The built-in sequences: waves that travel up, travel down, or stand still."""

import numpy as np

from grulight.data.sequences import Sequences

CLASS_NAMES = ("up", "down", "still")

# Calibrated, not measured from anything: with these four numbers and this seed, Keras' default
# training lands on the loss and accuracy of the original pipeline (a slow test shows it).
AMPLITUDE = 13.0
STILL_AMPLITUDE = 0.45  # of a standing wave, as a share
SPEED = 1.1  # wavelengths that a wave travels in a sequence
NOISE = 0.19  # as a share of the amplitude
SEED = 15


def waves(
    num_sequences: int = 1000, num_steps: int = 10, num_features: int = 5, seed: int = SEED
) -> Sequences:
    """Draw sequences x (N, T, F) of three classes in equal shares.

    With the direction d = 1, -1 or 0 (up, down, still), a phase φ uniform in ±π, and time t counted
    from the middle of the sequence::

        x[t, f] = AMPLITUDE · (g · sin(2π (f/F - d·SPEED·t/T) + φ) + NOISE · ε)

    where g is 1 for a travelling wave and STILL_AMPLITUDE for a standing one, and ε is standard
    normal. Up is down with time reversed: the two differ only in the order of events.
    """
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, num_sequences)
    phase = generator.uniform(-np.pi, np.pi, num_sequences)
    noise = generator.standard_normal((num_sequences, num_steps, num_features))
    direction = np.array([1, -1, 0])[labels]
    gain = np.where(direction == 0, STILL_AMPLITUDE, 1)
    time = (np.arange(num_steps) - (num_steps - 1) / 2) / num_steps
    place = np.arange(num_features) / num_features
    angle = 2 * np.pi * (place - np.multiply.outer(direction * SPEED, time)[:, :, None])
    wave = gain[:, None, None] * np.sin(angle + phase[:, None, None])
    return Sequences(
        values=(AMPLITUDE * (wave + NOISE * noise)).astype(np.float32),
        lengths=np.full(num_sequences, num_steps),
        labels=labels,
        class_names=CLASS_NAMES,
        feature_names=tuple(f"x{feature}" for feature in range(num_features)),
        ids=np.arange(num_sequences).astype(np.str_),
        source="waves",
    )
