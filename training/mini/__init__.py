"""The bundled miniature: its corpus, its recipe, its table of accuracies."""
