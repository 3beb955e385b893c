"""Compiled programs are kept between starts."""

import os
import subprocess
import sys

import pytest

from epipolar_jax import compilation_cache

_PROGRAM = """
import jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
from epipolar_jax import compilation_cache
hits = []
def listen(event, **_):
  if event == "/jax/compilation_cache/cache_hits":
    hits.append(event)
jax.monitoring.register_event_listener(listen)
print(compilation_cache.enable())
jax.jit(lambda x: x * 2 + 1)(3.0).block_until_ready()
print(len(hits))
"""


def test_the_second_start_finds_what_the_first_compiled(tmp_path):
  environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
  environment |= {"XDG_CACHE_HOME": str(tmp_path)}
  found = []
  for _ in range(2):
    ran = subprocess.run(
      [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    folder, hits = ran.stdout.split()
    files = [path for path in tmp_path.rglob("*-cache") if path.is_file()]
    assert folder.startswith(str(tmp_path / "epipolar_jax")) and files
    assert all(str(path).startswith(folder) for path in files)
    found.append(int(hits))
  assert found[0] == 0 < found[1]


@pytest.mark.parametrize("base", [None, "/somewhere"])
def test_the_folder_is_the_users(monkeypatch, tmp_path, base):
  monkeypatch.setenv("HOME", str(tmp_path))
  monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
  if base is not None:
    monkeypatch.setenv("XDG_CACHE_HOME", base)
  folder = compilation_cache.default_folder()
  assert str(folder.parent) == f"{base or tmp_path / '.cache'}/epipolar_jax"
