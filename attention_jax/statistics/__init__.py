"""What rows say.

metrics          exact match, BLEU, chrF of outputs
alignments       alignment error rate, entropy, agreement with gold
sentences        the loss of every test sentence, kept
intervals        of the typical seed, of differences, of shares; Holm
rates            which learning rate a rate curve speaks for
lengths          L50 by a logistic fit
observations     rows → counts, for a comparison declared beforehand
ladder           budgets: where attention has learned, what is missing
conditions       gap, memory, rates, placebo
verdicts         bottleneck, slower to train, none, or inconclusive
text             the same of losses of sentences
truths           rows under planted truths
characteristics  how often the verdicts are right
"""
