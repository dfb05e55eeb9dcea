"""What rules cost: the loop of a dispatch, with one rule taken out at a time.

Theory of operation. ``variants.full`` is `AsyncEventDispatcher.adispatch`, copied out; a test keeps it so. Each other
variant leaves out what one rule asks for. What a rule costs is the difference: in instructions, which are counted, and
in nanoseconds, which are the median of differences between samples of the same round.
"""
