"""Simulated stakeholders: people with fact sheets who chat with the desk and flag what it gets wrong."""
