"""From flags to a curated set: which count, what they teach, the rows that training reads."""
