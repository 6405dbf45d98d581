"""Many runs.

archive     a folder of results: all that is needed to check it and run it anew
agreement   two folders of one claim: same verdict, same lengths, and what was different
sweep       configs → runs: list, index, status, conclusion
forecast    what a sweep will take: programs and minutes
"""
