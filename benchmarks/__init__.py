"""What a dispatch costs, as ratios to the loop one would write by hand.

Run it with ``python -m benchmarks`` or ``nox -s benchmarks``; ``README.md`` says what each case measures.
"""
