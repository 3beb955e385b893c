"""From a split to numbers, a table, JSON and figures: what every task shares."""
