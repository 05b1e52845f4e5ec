"""What maintainers see and decide: the queue, one key each, and the figures of all flags."""
