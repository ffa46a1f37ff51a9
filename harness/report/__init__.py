"""What is made of a finished run for others to read: published leaderboards, and the check of them."""
