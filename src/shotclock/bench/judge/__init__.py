"""What a run's figures mean: metrics, gates, modes, sanity, worth, verdict. Imports nothing that draws."""
