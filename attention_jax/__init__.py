"""Does one fixed vector forget long inputs, and what does attention change?

The library is one pipeline of pure functions. Its rooms import only earlier ones; each lists its files in its own docstring:

    types        records that cross a file boundary, and the types of their functions
    system       the process and its disk
    config       frozen settings, strict overrides, JSON both ways
    layers       affine maps, cells, loops over time, masks, keys
    data         tasks and corpora → batches
    encoders     data → memory
    attention    memory → context: score × normaliser × window × estimator
    model        encoder, decoder and readout in one; search runs it freely
    training     one pure update, and the same update on many devices or seeds
    statistics   what rows say about two arms
    running      one run: trained, evaluated, kept
    trained      a run is loaded, decodes, and becomes one file
    report       rows as people read them
    sweeps       many runs, and what they say together
    adapters     the same for other people's models

Arrays end in their dimensions, `memory_BxSxM`; an x at either end, `h_xH`, stands for any axes there. The letters, here and nowhere else:

    B batch            S source positions    T target positions    E embedding
    H decoder state    M memory vector       D floats handed from encoder to decoder
    A score width      V vocabulary          R seeds (replicas)    N heads    K slots
    C context          Y, X rows and columns of an image
    P memory places, where they are fewer than S; of a cell, columns that its inputs contribute
"""
