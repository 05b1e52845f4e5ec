"""Backtalk elsewhere: a Space for visitors, a Job for training on rented hardware."""
