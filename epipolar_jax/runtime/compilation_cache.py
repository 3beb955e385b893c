"""Compiled programs on disk: the second start of a run does not compile again."""

import os
import pathlib
import platform

import jax

_MAX_BYTES = 2 << 30
_MAX_BYTES_VARIABLE = "JAX_COMPILATION_CACHE_MAX_SIZE"


def enable() -> pathlib.Path:
  """Keeps compiled programs in a folder, and takes from it what is there.

  The folder is $JAX_COMPILATION_CACHE_DIR, or else epipolar_jax/HOST in the user's cache folder
  ($XDG_CACHE_HOME, ~/.cache): programs for a CPU belong to that CPU, and a home folder may be
  shared by many machines. Programs that compile in less than a second are not kept.

  In the folder of our own, programs that were not used for longest make room for new ones beyond
  2 GiB, or $JAX_COMPILATION_CACHE_MAX_SIZE bytes (-1: no limit). In one that the user names nothing
  is removed unless that variable is set. JAX_ENABLE_COMPILATION_CACHE=false switches all this off.

  Returns:
    The folder.
  """
  named = jax.config.jax_compilation_cache_dir
  folder = pathlib.Path(named or default_folder())
  if not named:
    if _MAX_BYTES_VARIABLE not in os.environ:
      jax.config.update("jax_compilation_cache_max_size", _MAX_BYTES)
    if jax.config.jax_compilation_cache_max_size != -1:
      _remove_undated(folder)
  jax.config.update("jax_compilation_cache_dir", str(named or folder))
  return folder


def default_folder() -> pathlib.Path:
  """Where programs are kept unless $JAX_COMPILATION_CACHE_DIR says otherwise."""
  base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
  return pathlib.Path(base) / "epipolar_jax" / (platform.node() or "this")


def _remove_undated(folder: pathlib.Path) -> None:
  """Removes programs without a time of use: one of them keeps jax 0.10 from writing any more.

  They are of a start without a limit, or of one that was killed while it wrote
  (https://github.com/jax-ml/jax/issues/39880).
  """
  for path in folder.glob("*-cache"):
    if not path.with_name(path.name.removesuffix("-cache") + "-atime").exists():
      path.unlink(missing_ok=True)
