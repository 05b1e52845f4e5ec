"""What visitors say of an answer: consent, the event, where it is, what became of it, and all as numbers."""
