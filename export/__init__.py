"""Merged models become files that can be served: converted, verified, published."""
