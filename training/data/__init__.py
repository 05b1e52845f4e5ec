"""From sources of any kind to the rows that a trainer takes; `load.py` tells it in order."""
