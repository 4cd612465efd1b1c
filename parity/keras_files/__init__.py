"""The check of a Keras file: its model in Keras, what it is fed, and what its port answers."""
