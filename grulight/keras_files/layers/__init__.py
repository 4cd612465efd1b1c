"""Keras' layers as torch modules, with Keras' semantics.

Read `base` for what every layer has, `registry` for which there are, `network` for how a model
calls them.
"""
