"""Two models, one question: who can be compared, where the second one is loaded, what the votes say."""
