"""Host side: raw examples to batches of pixels; numpy and OpenCV, never jax."""
