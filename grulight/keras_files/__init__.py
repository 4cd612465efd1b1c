"""Keras' model files."""
