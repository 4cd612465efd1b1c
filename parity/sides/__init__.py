"""The sides: torch, Keras, ONNX Runtime and NumPy answer the same questions by the same names.

Read ``reference_side`` first; ``torch_side`` and ``keras_side`` answer what it does and more.
"""
