"""Memory stays with the process: counted in pages that the system had to hand out again."""

import os
import platform
import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys
from epipolar_jax.runtime import host_memory
print(host_memory.keep() if sys.argv[1] == "keep" else False)
import jax, jax.numpy as jnp
jax.config.update("jax_platforms", "cpu")
# 64 MB between two products, which nothing can fuse away.
f = jax.jit(lambda x, k: jnp.sum((jnp.sin(x @ k) @ k.T)))
args = jnp.ones((16384, 16)), jnp.ones((16, 1024))
# Calls leave holes in the memory, until one is large enough: seldom one asks again.
for _ in range(5):
  f(*args).block_until_ready()
faults = []
for _ in range(15):
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  f(*args).block_until_ready()
  faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sorted(faults)[7])
"""


def _run(what, **environment):
  own = [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]
  ran = subprocess.run(
    [sys.executable, "-c", _PROGRAM, what],
    env={k: v for k, v in os.environ.items() if k not in own} | environment,
    capture_output=True,
    text=True,
    check=True,
  )
  kept, faults = ran.stdout.split()
  return kept == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_pages_are_not_asked_for_again():
  kept, faults = _run("keep")
  assert kept
  not_kept, usual = _run("leave")
  assert not not_kept
  # Half of the calls take 64 MB in pages of 4 KB (or of 2 MB, where the system gives huge ones).
  assert usual > 20
  assert faults < usual / 10


def test_whoever_sets_glibcs_own_variables_is_left_alone():
  assert not _run("keep", MALLOC_ARENA_MAX="2")[0]
