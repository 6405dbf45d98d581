"""Sweeps of many runs.

archive       a folder of results, from which a sweep can be checked and rerun
agreement     comparison of two folders of results of one claim
provenance    whose rows these are, and where their runs were made
sweep         configs → runs: list, index, status, conclusion
remedies      runs that would decide a verdict, and the commands that make them
matching      arms of as many parameters
measurements  what a claim measures of its trained models besides results
explored      examples of runs as a page explores them, finished or while they train
unigrams      the most frequent symbol again and again, for `measure`
positions     wrong outputs by position, and what a probe reads, for `measure`
claims        loading a claim from a user's file, with the rows it adds to tables
listed        a list of configs in a user's file, as a claim
forecast      compiled programs and minutes that a sweep will take
limits        time limits of jobs, from that
gathered      results of many runs, for tables by any settings
execution     the runs of a sweep, one after the other
"""
