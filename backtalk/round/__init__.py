"""`backtalk round`: one command from flags to a better model, each verb a process of its own.

recipe.py    what a round recipe says
rules.py     which methods follow from what was collected
state.py     round.json: which acts are done, so that the same command goes on
acts.py      the acts, in order
ahead.py     what is served now is asked while the candidate is being made
child.py     one verb as a process whose progress is passed on; leash.py ends it with the round
start.py     the base, or the last round's adapter
earlier.py   what earlier rounds were asked; taught.py: what this one was taught, asked again
judge.py     the gate's verdict, and what few items of earlier rounds add to it
served.py    the model that is served now; again.py: what a round that goes on looks at again
plan.py      what `--dry-run` says; report.py, picture.py: REPORT.md and what it shows
round.py     the command
"""
