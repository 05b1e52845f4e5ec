"""Experiments on more than one device: the same configurations, folders and table, trained side by side.

task        what passes between an experiment and its device groups
group       what one device group does: its base in memory once, one configuration after the other
with_ray    a cluster of Ray, and a task as a trial of Ray Tune
trials      the experiment: who is tried next, who goes on, what came of it
"""
