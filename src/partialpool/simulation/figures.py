"""Names of the figures that studies of many fits record, and words for their sizes.

Loads nothing, for the index reads them too.
"""

#: Of the posterior means about the fixed truth.
ERROR, BIAS = "root mean squared error", "bias"
#: Of the posteriors themselves.
WIDTH = "width of 95 % intervals"
#: By way to pool; below 1 partial pooling is the worse.
RATIO = "error of the groups' lines as a multiple of partial pooling's"
#: Whether intervals keep what they promise: of truths from the prior, not of a fixed one.
PROMISE = "coverage of 95% intervals over the prior"
#: Each size in words, after its number.
SIZES = {"n": "points", "groups": "groups", "per_group": "rows in each", "items": "items"}
