"""Calibration from the keypoints of a recording: refining cameras, and judging them."""
