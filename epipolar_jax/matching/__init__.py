"""Assigns detections to people across views; checks that each view is of the camera of its name."""
