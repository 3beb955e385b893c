"""Pickles read by an allow-list: nothing in them is executed."""
