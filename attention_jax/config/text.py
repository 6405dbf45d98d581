"""Settings of real text; see `attention_jax/config/__init__.py`."""

from dataclasses import dataclass

from attention_jax.config.rules import PARTS, SIZE, number, numbers, word


@dataclass(frozen=True)
class TextConfig:
    """Settings of real text; ignored by synthetic tasks."""

    languages: str = "de-en"  # source-target, for corpora that offer several
    source_file: str = ""  # parallel_text: source lines, or one TSV with both columns
    target_file: str = ""  # parallel_text: target lines; empty when source_file is a TSV
    validation_source: str = ""  # parallel_text: the same of validation; empty: a share of the lines above, by content
    validation_target: str = ""
    test_sources: tuple[str, ...] = ()  # parallel_text: the same of one or more test sets; none: a share of the lines above, by content
    test_targets: tuple[str, ...] = ()
    test_links: tuple[str, ...] = ()  # parallel_text: hand-made word links, a file per test set (data/corpora/gold.py); none: none
    alignment_file: str = ""  # parallel_text: word links of source_file in Pharaoh format ("0-0 1-2"), for training.guided; empty: none
    aligner: str = word("none", "none ibm1 hmm")  # links the words of the training text, for training.guided (data/aligners.py)
    unit: str = word("subword", "subword character word")  # tokens: of sentencepiece, or characters, or what white space separates
    target_unit: str = word("same", "same subword character word")  # tokens of targets; same: as text.unit
    vocabularies: str = word("shared", "shared separate")  # one for source and target, or one each
    vocabulary_size: int = number(2000, least=1, most=SIZE)  # most tokens of a vocabulary; it has no more than the training split uses
    join_min: int = number(1, least=1, most=PARTS)  # fewest and most consecutive pairs joined into one (length without a change of domain)
    join_max: int = number(1, least=1, most=PARTS)
    max_words: int = number(
        0, least=0, most=SIZE
    )  # longest source trained on, in what text.lengths counts; longer ones are left out, never of evaluation; 0: none
    lengths: str = word("words", "words characters")  # what the length of a source counts: in rows, data.eval_lengths and text.max_words
    buckets: tuple[int, ...] = numbers(
        (32, 64, 96, 128), least=1, most=SIZE, ascending=True
    )  # padded sizes in tokens, EOS included, source and target alike
    cut: int = number(128, least=1, most=SIZE)  # longest decoded output and longest evaluated source, in tokens, EOS included
    given: str = ""  # a word: the target's words up to it are read by the decoder, neither trained nor scored; empty: none are
    swapped: bool = False  # source and target change places, and links with them
    blind: bool = False  # every source is EOS alone, in training and evaluation: what an arm has learned of targets without their sources

    @property
    def units(self) -> tuple[str, str]:
        """The units of sources and of targets."""
        return self.unit, self.unit if self.target_unit == "same" else self.target_unit

    def contradictions(self) -> list[tuple[bool, str]]:
        """Lists (True where a rule is broken, what to say) of every rule between settings."""
        sources, targets = len(self.test_sources), len(self.test_targets)
        return [
            (self.join_min > self.join_max, f"text.join_min={self.join_min} is above text.join_max={self.join_max}"),
            (
                self.validation_target != "" and self.validation_source == "",
                f"text.validation_target={self.validation_target} has no text.validation_source: give both, or one TSV as the source",
            ),
            (
                targets not in (0, sources),
                f"text.test_targets has {targets} files, text.test_sources {sources}: give one each, or no targets where sources are TSVs",
            ),
            (
                self.vocabularies == "shared" and self.target_unit not in ("same", self.unit),
                f"text.target_unit={self.target_unit} needs text.vocabularies=separate: sources are in {self.unit}s",
            ),
            (
                self.given != "" and (len(self.given.split()) != 1 or self.join_max > 1 or self.alignment_file != ""),
                f"text.given={self.given!r} must be one word, of pairs that are neither joined (text.join_max=1) nor linked",
            ),
            (
                len(self.test_links) not in (0, sources),
                f"text.test_links has {len(self.test_links)} files, text.test_sources {sources}: give one each, or none",
            ),
            (self.blind and self.alignment_file != "", "text.blind=True leaves no words to link: leave text.alignment_file empty"),
            (self.blind and self.aligner != "none", "text.blind=True leaves no words to link: set text.aligner=none"),
            (
                self.aligner != "none" and self.alignment_file != "",
                f"text.aligner={self.aligner} makes the links that text.alignment_file holds: give one of them",
            ),
        ]
