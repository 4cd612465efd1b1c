"""Keras' layers as torch modules, with Keras' semantics."""
