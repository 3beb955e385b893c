"""Compiled programs on disk: the second start of a run does not compile again."""

import os
import pathlib
import platform

import jax


def enable() -> pathlib.Path:
  """Keeps compiled programs in a folder, and takes from it what is there.

  The folder is $JAX_COMPILATION_CACHE_DIR, or else epipolar_jax/HOST in the user's cache folder
  ($XDG_CACHE_HOME, ~/.cache): programs for a CPU belong to that CPU, and a home folder may be
  shared by many machines. Programs that compile in less than a second are not kept. Nothing is
  ever removed: delete the folder at will. JAX_ENABLE_COMPILATION_CACHE=false switches this off.

  Returns:
    The folder.
  """
  folder = jax.config.jax_compilation_cache_dir or default_folder()
  jax.config.update("jax_compilation_cache_dir", str(folder))
  return pathlib.Path(folder)


def default_folder() -> pathlib.Path:
  """Where programs are kept unless $JAX_COMPILATION_CACHE_DIR says otherwise."""
  base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
  return pathlib.Path(base) / "epipolar_jax" / (platform.node() or "this")
