"""Does one fixed vector forget long inputs, and what does attention change?

The library is one pipeline of pure functions; every stage is a file that imports only earlier ones:

    config       frozen settings, strict overrides  keys         named streams of random numbers
    tasks        synthetic data from a key          corpora      real text from TFDS builders
    recurrence   a cell scanned over time           encoders     data → memory
    attention    memory → context: score × normaliser × window × estimator
    decoder      one scan that calls `attend`       readout      states and contexts → what logits are read from
    search       the same step, free-running        alignments   where outputs looked
    model        wires them                         losses       sums and counts
    training     one pure update                    parallel     the same update on many devices or seeds
    metrics, sentences, checkpoint, results, loop   what a run leaves behind
    rates, selection                                which learning rate it is trained at
    intervals, lengths, observations, ladder, conditions, verdicts             what rows say about two arms
    text                                            the same of losses on text
    standings, statistics, tables, scoring, figures, report                    rows as people read them
    archive, sweep, forecast                        many runs: a folder of results, what they take
    truths, characteristics                         how often that is right
    agreement                                       whether a second folder says the same
    linen, interchange                              the same for other people's models

Arrays end in their dimensions, `memory_BxSxM`. The letters, here and nowhere else:

    B batch            S source positions    T target positions    E embedding
    H decoder state    M memory vector       D floats handed from encoder to decoder
    A score width      V vocabulary          R seeds (replicas)    N heads    K slots
    C context          Y, X rows and columns of an image
    P memory places, where they are fewer than S; of a cell, columns that its inputs contribute
"""
