"""Test set-up, before any array exists: CPU with four virtual devices, strict broadcasting."""

import ctypes
import gc
import os
import pathlib
import tempfile

import jax
import pytest

# Most of the suite's time is compiling: XLA's older emitters without optimisation take half of what
# users' programs take. `XLA_FLAGS= pytest` tests those. jax 0.12 has no older emitters any more.
_OLD = "" if jax.__version_info__ >= (0, 12) else " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0" + _OLD)
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
# A program that comes again in this process is read back.
_CACHE = tempfile.TemporaryDirectory(prefix="epipolar-jax-compiled-")
jax.config.update("jax_compilation_cache_dir", _CACHE.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

# Two workers should fit into 4 GB.
_MOST_BYTES, _STEP_BYTES = 1 << 30, 256 << 20
_STATM = pathlib.Path("/proc/self/statm")
_kept = 0  # bytes in use after memory was last given back


@pytest.fixture(autouse=True)
def _give_back_memory():
  """Forgets compiled programs when this process is large; what is needed again is read back."""
  global _kept
  yield
  if _STATM.exists() and _resident_bytes() > max(_MOST_BYTES, _kept + _STEP_BYTES):
    jax.clear_caches()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    _kept = _resident_bytes()


def _resident_bytes() -> int:
  return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
