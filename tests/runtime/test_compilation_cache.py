"""Compiled programs are kept between starts, the last used ones, up to a limit."""

import os
import subprocess
import sys

import pytest

from epipolar_jax.runtime import compilation_cache

_PROGRAM = """
import sys
import jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
from epipolar_jax.runtime import compilation_cache
hits = []
def listen(event, **_):
  if event == "/jax/compilation_cache/cache_hits":
    hits.append(event)
jax.monitoring.register_event_listener(listen)
print(compilation_cache.enable(), jax.config.jax_compilation_cache_max_size)
for name in sys.argv[1:]:
  def function(x):
    return x * 2 + len(name)
  function.__name__ = name
  jax.jit(function)(3.0).block_until_ready()
print(len(hits))
"""


def _start(cache_home, *names, **variables):
  """Compiles functions of some names; the folder, the limit, and how many were found there."""
  environment = {k: v for k, v in os.environ.items() if "COMPILATION_CACHE" not in k}
  environment |= {"XDG_CACHE_HOME": str(cache_home)} | variables
  command = [sys.executable, "-W", "error", "-c", _PROGRAM, *names]
  ran = subprocess.run(command, env=environment, capture_output=True, text=True)
  assert ran.returncode == 0, ran.stderr
  folder, limit, hits = ran.stdout.split()
  return folder, int(limit), int(hits)


def _programs(folder):
  """The bytes of each function's program."""
  return {
    path.name.split("-")[0].removeprefix("jit_"): path.stat().st_size
    for path in folder.rglob("*-cache")
    if path.name.startswith("jit_program")
  }


def test_the_second_start_finds_what_the_first_compiled(tmp_path):
  folder, limit, hits = _start(tmp_path, "program")
  assert folder.startswith(str(tmp_path / "epipolar_jax")) and limit == 2 << 30
  assert hits == 0 and _programs(tmp_path).keys() == {"program"}
  assert _start(tmp_path, "program")[2] > 0


def test_beyond_the_limit_the_program_that_was_not_used_for_longest_goes(tmp_path):
  folder, _, _ = _start(tmp_path, "program_1", "program_2", "program_3")
  everything = sum(path.stat().st_size for path in tmp_path.rglob("*-cache"))
  # Left by a start that was killed while it wrote, or that had no limit.
  (tmp_path / folder / "jit_program_0-undated-cache").write_bytes(b"half of a program")
  variables = {"JAX_COMPILATION_CACHE_MAX_SIZE": str(everything)}
  _, limit, hits = _start(tmp_path, "program_1", "program_4", **variables)
  kept = _programs(tmp_path)
  assert limit == everything and hits > 0
  assert kept.keys() >= {"program_1", "program_4"} and not kept.keys() & {"program_0", "program_2"}
  assert sum(path.stat().st_size for path in tmp_path.rglob("*-cache")) <= limit


def test_nothing_is_removed_from_a_folder_that_the_user_names(tmp_path):
  own = tmp_path / "own"
  own.mkdir()
  (own / "jit_program_0-undated-cache").write_bytes(b"somebody's program")
  folder, limit, _ = _start(tmp_path, "program_1", JAX_COMPILATION_CACHE_DIR=str(own))
  assert folder == str(own) and limit == -1
  assert _programs(own).keys() == {"program_0", "program_1"}


@pytest.mark.parametrize("base", [None, "/somewhere"])
def test_the_folder_is_the_users(monkeypatch, tmp_path, base):
  monkeypatch.setenv("HOME", str(tmp_path))
  monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
  if base is not None:
    monkeypatch.setenv("XDG_CACHE_HOME", base)
  folder = compilation_cache.default_folder()
  assert str(folder.parent) == f"{base or tmp_path / '.cache'}/epipolar_jax"
