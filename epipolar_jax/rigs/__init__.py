"""Rigs: what calibration files say."""
