"""Test set-up: CPU with four virtual devices, strict broadcasting; must run before any array exists."""

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
