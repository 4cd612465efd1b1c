"""A process that only predicts: open a checkpoint, answer for a file of sequences."""

import sys

import numpy as np

from grulight import load_classifier

if __name__ == "__main__":
    answers = load_classifier(sys.argv[1]).predict_proba(np.load(sys.argv[2]))
    print(len(answers), [name for name in ("torch", "lightning") if name in sys.modules])
