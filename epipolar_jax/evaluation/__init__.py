"""From a split to numbers, a table, JSON and pictures: what every task shares."""
