"""What a maintainer does: decide on flags, look at the next set, run rounds, watch experiments, promote.

Each file is one of these, without gradio; app/ui/maintain.py opens them to the page, for maintainers alone.
What belongs to another package is done by its verb as a process, in the maintainer's name, with their token.
"""
