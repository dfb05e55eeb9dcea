"""The gate: the bytecode instructions of each operation, compared with figures that are committed for each Python.

An operation is one dispatch or one registration. It is warmed up and then counted in the running event loop. Only
instructions of antiphon's own code count. A count is the same on every machine, so growth comes from a change of the
code, and fails.
"""
