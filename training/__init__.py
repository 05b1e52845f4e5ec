"""What turns data into weights."""
