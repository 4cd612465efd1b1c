"""A configuration of any Keras becomes a graph of layer specs, and each array gets its place."""
