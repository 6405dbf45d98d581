r"""Side-by-side timings against other people's implementations, one file per comparison; anybody can rerun them.

    make bench                                          everything, ≤ 20 minutes on two CPU cores
    python -m benchmarks.run --list                     what there is
    python -m benchmarks.run --only=layer,training      some of it
    make bench ARGS="--only=layer --seconds=3"

A table is printed at the end, and every line of it appended to runs/benchmarks.jsonl; `rows.Row` says what a line holds. Then comes what
moved beyond noise since the rows in docs/performance. Without measuring:

    python -m benchmarks.compare OLD NEW                what moved between two files of rows
    python -m benchmarks.page                           docs/performance.md, its appendix and README's table anew, from docs/performance

How. Ours and the peers take turns, A B A B …, warm-up excluded, and medians are compared. Before that equal work is asserted: our
weights are copied into the peer (or its into ours), and outputs, losses and gradients agree to 1e-4, those of whole models to 1e-9 in
float64. Threads are those that people get: PyTorch has as many as there are cores, JAX a device per core, as the command line sets it
up. Every comparison has a process of its own, so that one leaves nothing behind for the next, and so has every peer (apart.py says
why): targets are for peers as they are installed, and a column "memory kept" has them with the allocator's settings that our command
line makes.

Peers. `make bench` installs them; by hand:

    pip install -e '.[peers]'
    pip install --no-deps joeynmt==2.3.0
    pip install numpy pyyaml sacrebleu sentencepiece subword-nmt sacremoses datasets matplotlib pandas packaging \
        importlib_metadata tensorboard

joeynmt's own list of requirements asks for old versions that newer ones replace, hence --no-deps. Without a peer its columns are
left out, with a line that says so; an update without joeynmt is compared with PyTorch's own layers.
"""
