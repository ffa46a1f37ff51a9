"""Mean cosine, its intervals, slices and the leaderboard."""
