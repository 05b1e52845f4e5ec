"""What contributors may ask for: another consent, a withdrawal, a purge, and where a flag went."""
