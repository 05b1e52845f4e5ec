"""An experiment: many configurations of one recipe, side by side on one base in memory.

recipe, expand        a recipe whose values may be lists, and the configurations that it means
study                 the same, asked of Optuna
prepare, items        data and bases, read once; the rows to compare on, development and test apart
share, baton          one frozen base for all; one trainer at a time, random numbers handed over with the turn
turns, entrant, engine    a configuration on its way, and who goes next
early                 asynchronous successive halving
control, wishes, cloning  what a person asks of it while it runs
board                 the curves for TensorBoard, on request
sampler               configurations that Optuna names
state, points         what others can read of it meanwhile
measure, answers      bits per byte on the development rows; answers on the test rows, once
decide, effects       which is best, how sure that is, and which knob did it
reporting, chart, table   what is left for people; finish writes it
cost                  what it will take, said before it starts
asking                what the verbs stop, resume and clone share
run, status, stop, resume, clone, report    the verbs of `backtalk experiment`
"""
