"""The proof that a grulight model and its Keras twin compute the same.

Read it from the ground up: ``question`` (what is asked), ``sides`` (who answers), ``compare`` and
``tolerances`` (how far apart), ``rungs`` (what follows), ``check`` (all of it in turn).
"""

from parity.assertion import assert_equivalent

__all__ = ["assert_equivalent"]
