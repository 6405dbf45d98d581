"""What is to be known of a graphics card, in the order of its value, on any machine that has one: `make gpu`.

    a  card       the card, versions; a program with deterministic operations, compiled and run twice
    b  parity     every row of every table against float64 from a CPU (references.npz), at precisions highest and tf32
    c  resume     a run that is killed and goes on ends bit-identical, with --deterministic and without
    d  updates    the time of an update: none, summary, additive; in six ways
    e  others     layers, whole models, decoding beside PyTorch + cuDNN and JoeyNMT; TorchRL and FlashRNN where they import
    f  sweeps     bottleneck's preset tiny, whole, then the longer budgets of verdict
    g  sweeps     as much of its preset full as the time allows

    make gpu                                          all of it in 10 minutes
    make gpu PARTS=a,b SECONDS=240                    some of it
    make gpu ALLOW_CPU=1                              the rehearsal: without a card, at the smallest sizes
    python -m benchmarks.cards --table                what is on file

Time. A part is one step or several, each a process of its own (child.py). A step may take its share of what is left: its weight over
the weights of all steps that are still to come (steps.py). What it does not use is theirs. At the end of its share it is killed with
all it has started, and what it measured stays.

Files. Everything is in one folder, runs/gpu: rows.jsonl, log.txt, and an archive of results for each sweep, 5 files in all. A row is on
disk before the next one is measured, and a torn last line is dropped: the whole tree of processes may be killed at any moment.
The same command goes on: what is on file for the same card, versions and sources is left out. Sweeps are trained beside that folder.

A row is that of the other benchmarks (rows.Row), with `part`, `step`, `item` and `outcome`: measured, or what became of an item: done,
failed (with its words) or cut.
"""
