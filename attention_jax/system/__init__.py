"""The process and its disk. Nothing here knows what is computed.

errors      one-line errors that a user reads
files       files replaced whole; what a disk refuses is one line
signals     when to leave: signals, the time that was given, no progress
machine     what is chosen by measurement for the machine: devices, threads, compiled programs kept, allocator
"""
