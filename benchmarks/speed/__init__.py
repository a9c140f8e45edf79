"""How fast the engine is: against what people use, and against the machine's limit.

`python -m benchmarks.speed` measures all rows of docs/performance.md.
"""
