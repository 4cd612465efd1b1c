"""What a run shows of itself: ``recorder`` notes it, ``terminal`` prints it, ``page`` draws it."""
