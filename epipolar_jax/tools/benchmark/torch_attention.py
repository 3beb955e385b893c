"""The original's epipolar attention in PyTorch: `grid_sample` of an expanded map."""

import jax
import numpy as np
import torch
import torch.nn.functional as F

from epipolar_jax.tools.benchmark import timing, torch_timing


def attend(
  query: torch.Tensor, source: torch.Tensor, samples: torch.Tensor, *, scale: float = 0.125
) -> torch.Tensor:
  """As the original does it, pair after pair: every sample reads a map of its own.

  Args:
    query: [n, c, h, w], features of the reference views.
    source: [n, c, h, w], features of their source views; keys and values.
    samples: [n, k, h, w, 2], (u, v) in source pixels.
    scale: of the similarities.

  Returns:
    [n, c, h, w].
  """
  c, h, w = query.shape[1:]
  size = torch.tensor([w - 1, h - 1], dtype=samples.dtype, device=samples.device)
  outputs = []
  for own, other, points in zip(query, source, samples):
    expanded = other.expand(points.shape[0], c, h, w)
    seen = F.grid_sample(expanded, 2 * points / size - 1, align_corners=True)
    similarity = (own * seen).sum(dim=1)
    similarity = torch.where(similarity == 0, -1e10, similarity)
    weights = torch.softmax(scale * similarity, dim=0)
    outputs.append((seen * weights[:, None]).sum(dim=0))
  return torch.stack(outputs)


def measure(
  query: jax.Array, source: jax.Array, samples: jax.Array, forward: dict, both: dict
) -> list[timing.Row]:
  """Times one pair of views: query and source [h, w, c], samples [p, k, 2].

  Args:
    query, source, samples: as for `attention.epipolar_attention`.
    forward, both: what `timing.measure` takes, for the forward pass and for both.
  """
  device = torch_timing.device()
  h, w, _ = query.shape
  own, other = (
    torch.tensor(np.asarray(x).transpose(2, 0, 1)[None], device=device) for x in (query, source)
  )
  points = np.asarray(samples).transpose(1, 0, 2).reshape(1, -1, h, w, 2)
  points = torch.tensor(points, device=device)

  def only_forward():
    with torch.no_grad():
      return attend(own, other, points)

  def with_gradients():
    features = own.clone().requires_grad_(), other.clone().requires_grad_()
    return torch.autograd.grad((attend(*features, points) * other).sum(), features)

  return [
    torch_timing.measure("original", only_forward, **forward),
    torch_timing.measure("original", with_gradients, **both),
  ]
