"""How a network is trained: what a step does, how many one call takes, what is counted."""
