"""The sides: torch, Keras, ONNX Runtime and NumPy answer the same questions by the same names."""
