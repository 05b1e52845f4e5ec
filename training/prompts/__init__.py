"""Prompt variants: each `.jinja` file makes a user's message of a row's columns and is known by its name."""
