"""A configuration of any Keras becomes a graph of layer specs, and each array gets its place.

Read `spec` and `graph`, then `variables` and `placement`.
"""
