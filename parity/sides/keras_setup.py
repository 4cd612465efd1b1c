"""TensorFlow and Keras, set up for the proof: its other files take both from here."""

import os
from contextlib import suppress
from importlib import import_module

from parity.sides.quiet import silent_start

# Before TensorFlow is imported: oneDNN reorders sums, and its log lines drown ours.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

# torch imports Triton where it is installed, sooner or later; after TensorFlow, their two copies
# of LLVM end the process (triton 3.9 with TensorFlow 2.21).
with suppress(ImportError):
    import_module("triton")

with silent_start():
    import keras
    import tensorflow as tf
    from keras import layers, ops

tf.get_logger().setLevel("ERROR")  # else it advises on tracing

__all__ = ["keras", "layers", "ops", "tf"]
