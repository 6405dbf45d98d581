"""Many runs.

archive     a folder of results: all that is needed to check it and run it anew
agreement   two folders of one claim: same verdict, same lengths, and what was different
sweep       configs → runs: list, index, status, conclusion
claims      a claim from a file outside, with the rows that it adds to tables
forecast    what a sweep will take: programs and minutes
"""
