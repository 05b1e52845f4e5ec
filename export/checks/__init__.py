"""What is checked of a GGUF, each in a file of its own: tokens, template, fidelity, serving, answers."""
