"""How a network is trained: ``classifier`` says what, ``steps`` what a step does; both first."""
