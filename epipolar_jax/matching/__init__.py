"""Which detection, in which view, is of whom; and whether each view is of the camera it is said."""
