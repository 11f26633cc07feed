"""Two sets of runs held against each other, pair by pair."""
