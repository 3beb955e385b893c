"""2D keypoints of other tools."""
