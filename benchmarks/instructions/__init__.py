"""The gate: how many bytecode instructions a dispatch executes, against figures that are committed for each Python.

Theory of operation. An operation is one dispatch, or one registration. It is warmed up, then counted a few times in
the running loop; what counts are the instructions of antiphon's own code. A count is no time: it is the same on every
machine, so a growth is a change of ours, and fails.
"""
