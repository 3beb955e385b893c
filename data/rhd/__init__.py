"""The Rendered Hand Pose data set (Zimmermann and Brox, ICCV 2017)."""
