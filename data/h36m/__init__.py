"""Human3.6M: from the files of the H36M toolbox to a TFDS data set."""
