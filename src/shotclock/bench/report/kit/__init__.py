"""Parts that every page shares: figures, grids, panels, wording, rendering."""
