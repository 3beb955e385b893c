"""From a split to numbers, a table, JSON and pictures: a driver and a file per kind of problem."""
