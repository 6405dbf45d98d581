"""The verdict on text, where exact match says nothing: from losses by sentence, in nats per target token, or from error rates.

measures        loss and error rate: rows, sentences, margins
blocks          losses of seeds and of blocks of sentences, and a bootstrap over both
observations    rows and sentences → losses of the short and of the long half of the trained buckets
ladder          budgets: where attention has learned more than a model that does not see the source
conditions      learned, gap, widening, ratio, rates, placebo
verdicts        the same values as on strings
order           steps of a declared order of arms, by loss on the whole test set
"""
