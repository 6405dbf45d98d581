"""Real parallel text: config → {"train", "validation", "test"} of `Pairs` → ids → padded batches.

    raw            files of a folder or a download → verified bytes → lines, with errors for bad data
    downloads      a public address → bytes, bounded and resumed;  archives: .gz, .zip and .tar.xz → content of members, bounded
    builder        base class of the TFDS builders: lines are split and written once (array_record), in the file's order
    multi30k …     one builder a file: address, licence, hashes of the content, languages, how it is split
    words          the definition of a word in all of these
    po             gettext catalogues, for python_docs
    links          links between words, another aligner's → gold positions of subwords
    kept_links     links of our own aligners, kept in the cache
    gold           links between words of test sentences, made by hand
    pairs          `load(config, data_dir, cache_dir)`: read the build, join consecutive pairs, cap training
    own_files      the files of a user's own text, split by split
    faults         all that is wrong with a user's own files, by line
    vocabulary     text ↔ ids of tokens;  subwords: sentencepiece;  symbols: characters and words
    vocabularies   those of a run, learned of the training split only
    buckets        pairs → ids → batches of few shapes, a pure function of (seed, step)

The contract of a builder, a subclass of `builder.PairBuilder` in a file of its own: `LANGUAGES` lists the pairs on
offer, `read(raw files) → {split: [(source, target), …]}` raises `DataError` for whatever is not as it should be. Add one by
writing its file and its row below. No number is ever drawn to make splits. What they share, counted in the published files by
tests/data/corpora/apart_test.py:

    hansards, tatoeba, reuters     no source and no target, whichever way they are read
    python_docs, cmudict           no source; equal targets of other sources there are
    sick, snli                     no pair, in either order; sentences they do share
    multi30k                       as it was published: test and training no line of any language; validation and training one in German,
                                   one in English, three in French
    parallel_text                  no source, where one file is split; of files of one's own --check_data says what they share

Where raw files come from: `data_dir`, which holds either <corpus>/<file> or <file>; without it, a download to the cache. The
content is verified member by member, unpacked, since publishers pack the same files in more than one way.

    corpus         languages                 pinned address                                        licence, as its publisher says
    multi30k       any two of de, en, fr     github.com/multi30k/dataset, a commit of 2021         none stated; research use
    python_docs    en-es                     github.com/python/python-docs-es, a commit of 2024    CC0
    tatoeba        en-fr, fr-en              manythings.org/anki/fra-eng.zip, changes over time    CC BY 2.0
    hansards       en-fr                     a part of isi.edu's aligned Hansards, which has no     none stated; research use
                                             address of its own; hand-made links: github.com/
                                             neulab/awesome-align, a commit
    reuters        lead-headline             kdd.ics.uci.edu/databases/reuters21578                free for research
    sick           en-en                     alt.qcri.org/semeval2014/task1                        CC BY-NC-SA 3.0
    snli           en-en                     nlp.stanford.edu/projects/snli; not downloaded        CC BY-SA 4.0
    cmudict        en-phones, en-stressed    github.com/cmusphinx/cmudict, a commit of 2024        BSD-style
    parallel_text  any                       the user's own files                                  –

Builds from a folder are tested with the publishers' files. None of the downloads could be tried against its public address
when this was written, only against a server on the same machine; where one fails the message names address, file and flag.
"""

import importlib
from collections.abc import Callable

from attention_jax.types.citations import cites


def _builder(file: str, name: str) -> Callable[[], type]:
    """Returns a function that imports the class from a file of this folder, since importing TFDS takes half a second."""
    return lambda: getattr(importlib.import_module(f"{__name__}.{file}"), name)


TABLE = {
    "multi30k": cites("elliott2016")(_builder("multi30k", "Multi30k")),
    "python_docs": _builder("python_docs", "PythonDocs"),
    "reuters": _builder("reuters", "Reuters"),
    "sick": cites("marelli2014")(_builder("sick", "Sick")),
    "snli": cites("bowman2015")(_builder("snli", "Snli")),
    "tatoeba": _builder("tatoeba", "Tatoeba"),
    "cmudict": _builder("cmudict", "Cmudict"),
    "hansards": cites("mihalcea2003")(_builder("hansards", "Hansards")),
    "parallel_text": _builder("parallel_text", "ParallelText"),
}
"""Row: row() → the class of the corpus's builder, imported when asked for."""
