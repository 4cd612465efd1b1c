"""Many trainings: which settings to try, who tries them, and what came out."""

from grulight.extras import extra

extra("optuna", "tune", "grulight tune")  # says how to install it, where it is missing
