"""Many trainings: which settings to try, who tries them, and what came out."""
