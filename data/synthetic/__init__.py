"""Synthetic people in rooms seen by calibrated cameras; start at `builder.prepare`."""
