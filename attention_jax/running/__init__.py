"""What a run does, and leaves behind.

results       rows, a run's directory
selection     trials that make a run's rate curve, and curves that are kept
spelling      tokens → text as people read it
grids         images in the cells that memory vectors stand for
examples      decoded examples step by step, packed
replays       what a decoder knew at each step of a few examples
evaluation    parameters of all seeds → rows
checkpoint    everything a resume needs, saved and restored (orbax)
lock          one writer per directory, and a sign of life for others
finished      whether a run's rows are there, and its own
failures      what a run failed with, kept until it starts again
writers       where losses and results go besides rows: a table
tensorboard   event files
weights_and_biases  runs of wandb
trials        the learning rate of a run, by trials
watching      losses so far and an example as it is learned, for who watches
logs          progress bar and log lines, on standard error
exits         exit statuses of commands
loop          one run from start to end: clock, progress, failures
"""
