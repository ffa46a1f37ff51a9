"""Making one data set of others: near-duplicates out, evaluation data out, shares and caps, written as shards."""
