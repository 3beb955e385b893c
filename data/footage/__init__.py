"""One's own recordings as a data set: videos of a calibrated rig, and labels of some frames."""
