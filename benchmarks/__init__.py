"""The benchmarks: what a dispatch costs beside the code that you would write yourself, and beside other libraries.

``python -m benchmarks`` runs them. ``README.md`` says where a row is defined and how a figure is measured.
"""
