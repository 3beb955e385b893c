"""Test set-up, before any array exists: CPU with four virtual devices, strict broadcasting."""

import tempfile

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Most of the suite's time is compiling; a program that comes again in this process is read back.
_CACHE = tempfile.TemporaryDirectory(prefix="epipolar-jax-compiled-")
jax.config.update("jax_compilation_cache_dir", _CACHE.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
