"""What each command does, one file each; they share ``command_cli`` and ``running``."""

COMMANDS = {
    "fit": "train a model, test it, and write a run directory",
    "validate": "measure a checkpoint on the validation part",
    "test": "measure a checkpoint on the test part",
    "predict": "answer for sequences with a checkpoint, as a table",
    "tune": "search settings with many trainings, then train with the best",
    "trace": "show a checkpoint's pipeline, training and answers on one page",
    "pack": "write a source of any size as a directory that training reads from disk",
    "port": "turn a Keras model file into a checkpoint",
    "export": "write a checkpoint as .onnx, .pt2 or .keras",
}
