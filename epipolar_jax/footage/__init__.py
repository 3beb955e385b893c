"""From videos of a calibrated rig to joints: frames, windows around the person, the detector."""
