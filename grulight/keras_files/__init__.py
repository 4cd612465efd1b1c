"""Keras' model files, opened in torch with nothing in them run.

A file goes through the rooms in this order: `reader` (bytes), `plan` (graph and places of arrays),
`layers` (torch modules); `port` leads it through, `ported_network` puts it in a classifier's place.
"""
