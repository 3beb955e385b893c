"""Arrays in, images out."""
