"""What a random stream is for, as the first word of its seed.

numpy pads short seeds with zeros, so that (seed,) and (seed, 0) are one stream; a first word for
each use keeps the uses apart.
"""

ORDER, BATCH, VALIDATION, GENERATE = range(1, 5)
