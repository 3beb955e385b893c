"""The verbs of the command `epipolar`: one file each, with `add(verbs)` and what it runs."""
