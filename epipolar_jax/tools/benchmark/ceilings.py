"""What the machine can do at best: one large matrix product, one large copy."""

import dataclasses

import jax
import jax.numpy as jnp

from epipolar_jax.tools.benchmark import timing

# Side of the square matrices, and values of the array that is copied.
_SIDE = {"cpu": 2048, "gpu": 8192, "tpu": 8192}
_VALUES = {"cpu": 1 << 25, "gpu": 1 << 29, "tpu": 1 << 28}
_TYPES = ("float32", "bfloat16")
_COPIES = 16


@dataclasses.dataclass(frozen=True)
class Ceilings:
  """Measured in the same run as the rows that are held against it.

  Attributes:
    matmul_flops_per_s: by type of the factors, at JAX's default precision.
    copy_bytes_per_s: bytes read and written a second, of float32 plus one.
  """

  matmul_flops_per_s: dict[str, float]
  copy_bytes_per_s: float

  def words(self) -> dict[str, str]:
    """The ceilings, named, for the head of a table."""
    flops = self.matmul_flops_per_s.items()
    return {f"matmul {name}": f"{value / 1e9:.4g} GFLOP/s" for name, value in flops} | {
      "copy": f"{self.copy_bytes_per_s / 1e9:.4g} GB/s"
    }


def measure(seconds: float) -> Ceilings:
  """Measures the default device, for so long each."""
  platform = jax.default_backend()
  side, values = _SIDE[platform], _VALUES[platform]
  flops = {}
  for name in _TYPES:
    factor = jnp.ones((side, side), name)
    row = timing.measure(
      "matmul", jax.jit(jnp.matmul), factor, factor, size=name, frames=1, seconds=seconds
    )
    flops[name] = 2.0 * side**3 / row.low_s
  data = jnp.ones(values, jnp.float32)
  copy = timing.measure("copy", _copy, data, size="float32", frames=1, seconds=seconds)
  return Ceilings(flops, 2.0 * _COPIES * data.nbytes / copy.low_s)


@jax.jit
def _copy(data: jax.Array) -> jax.Array:
  """Many times in place: one result alone would mostly measure the system's fresh pages."""
  return jax.lax.fori_loop(0, _COPIES, lambda _, x: x + 1, data)
