"""Pages about runs: what they tell, the charts, and the HTML."""
