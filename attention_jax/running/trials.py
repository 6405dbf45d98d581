"""The learning rate of a run: its only candidate, or the one that its rate curve speaks for, for which trials are trained.

A trial is a run of the selection seeds at a candidate rate, over the whole budget or `training.pilot_updates`. It has checkpoints of its
own, leaves rows of the curve, and goes on where it was stopped, as runs do. `run` is the `loop.Run` whose rate is looked for.
"""

import shutil
from dataclasses import replace
from typing import Any

import numpy as np

from attention_jax.running import checkpoint, selection
from attention_jax.running.selection import Trials
from attention_jax.training import parallel


def rate(run: Any) -> float:
    """Returns the learning rate of a run: its only candidate, or what its rate curve speaks for; missing trials are trained first."""
    candidates = run.config.training.learning_rates
    if len(candidates) == 1:
        return candidates[0]
    if chosen := selection.earlier(run.directory, run.config):
        return chosen
    while groups := selection.wanted(run.config, so_far := curve(run)):
        run.bar.total += len(groups) * selection.updates(run.config)
        for group in groups:
            trial(run, group)
    if run.lock:
        shutil.rmtree(run.directory / "trials", ignore_errors=True)  # what a kill left of them
    return selection.rate(run.config, run.directory, so_far)


def curve(run: Any) -> list[dict]:
    """Reads the rate curve of a run as far as it goes; the same in every process."""
    return parallel.broadcast(selection.read(run.directory) if parallel.is_first() else None)


def trial(run: Any, group: Trials) -> None:
    """Trains a group of trials, and adds what they leave to the curve."""
    config = replace(run.config, training=replace(run.config.training, updates=selection.updates(run.config)))
    resolved = replace(run.resolved, config=config)
    main, run.saver = run.saver, checkpoint.Saver(run.directory / group.folder)
    if run.watch:
        run.watch.tries(group.rates)
    progress, _ = run.train(resolved, group)
    params, _ = run.chosen(progress)
    nll_R, tested_R = run.evaluator.validation_loss(params, group.seeds), run.evaluator.trials(params, group.seeds)
    nll_R = np.where(parallel.finite(progress.states.params), nll_R, np.inf)  # the best parameters of a diverged trial are of before
    if run.lock:
        run.lock.check()
        selection.keep(run.directory, selection.rows(run.config, run.fields, group, nll_R, tested_R))
        shutil.rmtree(run.saver.directory.parent, ignore_errors=True)
    run.saver = main
    parallel.barrier("trials")
