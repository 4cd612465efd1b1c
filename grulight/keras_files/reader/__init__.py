"""A Keras file's bytes become its configuration and its arrays; nothing in it is run."""
