"""Sequence models with scikit-learn's interface: ``inputs`` reads X, ``base`` trains."""

from grulight.extras import extra

extra("sklearn.base", "sklearn", "SequenceClassifier and SequenceRegressor")
