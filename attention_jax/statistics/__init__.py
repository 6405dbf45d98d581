"""Statistics of rows: metrics, intervals, and the verdicts that follow from them.

metrics          exact match, error rate, BLEU, chrF of outputs
edits            edit distance
unigram          a chance level: for each source symbol the target symbol it most often meets
alignments       alignment error rate, entropy, agreement with gold
links            error rate of links by seeds and sentences, links of both directions, baselines by place
positions        where errors fall, order or identity, which third goes first
probes           what a linear function reads from a vector, beside a control task
similarity       rank correlation of weights with how alike query and memory are
recall           what is right of answers by key without recall, and of their values at least
packed           a gzipped file and its content, for the next two
sentences        the file of test losses by sentence
hypotheses       the file of what was written for each sentence
intervals        confidence intervals of the typical seed, of differences, of shares; Holm's correction
rates            the learning rate that a rate curve chooses
lengths          L50 by a logistic fit
laws             laws of L50 in the size of the vector and the budget
budgets          least budgets for a level of exact match, and their bounds
gains            what one arm gains over another, in L50 and in updates
observations     rows → counts, for a comparison declared beforehand
ladder           budgets: the first at which attention has learned, and missing runs
conditions       gap, memory, rates, placebo
verdicts         bottleneck, slower to train, none, or inconclusive
text             the verdict on losses of sentences
truths           simulated rows under planted truths
characteristics  error rates of verdicts, coverage of intervals
"""
