"""HARP on antiphon and on whistle: the CPU time of a request, in alternating processes.

HARP imports its dispatcher from whistle. In a process that measures antiphon, a module of that name has antiphon's
classes, so HARP runs on antiphon without a changed line.
"""
