"""Tasks done on other machines, which need not share the run's folder: packed there, answered packed, judged here."""
