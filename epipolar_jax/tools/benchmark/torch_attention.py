"""The reference's epipolar attention in PyTorch: `grid_sample` of an expanded map."""

import torch
import torch.nn.functional as F


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
