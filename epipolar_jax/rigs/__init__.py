"""Rigs: cameras from calibration files."""
