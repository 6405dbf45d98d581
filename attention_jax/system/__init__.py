"""The process and its disk. Nothing here knows what is computed.

errors         one-line errors that a user reads
files          files replaced whole, and read within bounds; what a disk refuses is one line
output         standard output and error that may refuse
signals        why a run stops: signals, the time limit, no progress
kept_programs  compiled programs on disk, held against checksums
machine        settings chosen by measurement for the machine: devices, threads, compiled programs kept, allocator
"""
