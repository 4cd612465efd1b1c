"""The proof that a grulight model and its Keras twin compute the same."""

from parity.assertion import assert_equivalent

__all__ = ["assert_equivalent"]
