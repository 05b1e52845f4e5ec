"""What visitors say: flags, their reasons, and the outbox that never loses one."""
