"""The original's way from images to 3D in PyTorch: pair after pair, joint after joint.

Every view of a frame and the view it looks at go through the network together, so every image
goes through it twice; features are fused pair by pair (`torch_attention`), and the host
triangulates joint by joint with numpy. What the original computes besides (lines, targets,
normalised images) is handed to it ready-made.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from epipolar_jax.tools.benchmark import (
  timing,
  torch_attention,
  torch_pose_resnet,
  torch_timing,
)

_WINDOW = 8  # half side of the window around a peak, map px
_SCORE = 0.05  # of views that are triangulated


class Pairs(NamedTuple):
  """Views as reference views, n = frames x views.

  Attributes:
    images: [n, 3, h, w], normalised.
    other: [n], index of the view that each looks at.
    samples: [n, k, h/4, w/4, 2], (u, v) on its line through each pixel, in feature px of `other`.
    projection: [frames, views, 3, 4] numpy, world to network px.
    targets: [n, j, h/4, w/4].
  """

  images: torch.Tensor
  other: torch.Tensor
  samples: torch.Tensor
  projection: np.ndarray
  targets: torch.Tensor


class EpipolarPose(nn.Module):
  """Late fusion with an embedded output and a residual, one network for both views."""

  def __init__(self, depth: int, num_joints: int):
    super().__init__()
    self.backbone = torch_pose_resnet.PoseResNet(depth, num_joints)
    channels = self.backbone.head.in_channels
    self.z = nn.Conv2d(channels, channels, 1)
    self.bn = nn.BatchNorm2d(channels)
    nn.init.zeros_(self.bn.weight)

  def forward(self, pairs: Pairs) -> torch.Tensor:
    """Heatmaps [n, j, h/4, w/4]."""
    own = self.backbone.features(pairs.images)
    seen = self.backbone.features(pairs.images[pairs.other])
    found = torch_attention.attend(own, seen, pairs.samples)
    return self.backbone.head(own + self.bn(self.z(found)) + found)


def locate(network: EpipolarPose, pairs: Pairs) -> np.ndarray:
  """3D joints [frames, j, 3]."""
  with torch.inference_mode():
    uv, score = _decode(network(pairs))
  frames, views = pairs.projection.shape[:2]
  uv = uv.cpu().numpy().reshape(frames, views, -1, 2)
  score = score.cpu().numpy().reshape(frames, views, -1)
  joints = np.zeros((frames, uv.shape[2], 3))
  for frame in range(frames):
    for joint in range(uv.shape[2]):
      at, seen = uv[frame, :, joint], score[frame, :, joint]
      threshold = _SCORE
      while np.sum(seen > threshold) < 2:
        threshold -= _SCORE
      used = np.flatnonzero(seen > threshold)
      joints[frame, joint] = _triangulate(pairs.projection[frame, used], at[used])
  return joints


def train(network: EpipolarPose, optimizer: torch.optim.Optimizer, pairs: Pairs) -> None:
  """One step of the squared error, summed over joints."""
  optimizer.zero_grad()
  error = (network(pairs) - pairs.targets).square()
  (error.mean() * error.shape[1]).backward()
  optimizer.step()


def build(
  depth: int, parameters: int, projection: np.ndarray, **arrays: np.ndarray
) -> tuple[EpipolarPose, Pairs]:
  """The network and the views, on PyTorch's device.

  Args:
    depth: of the trunk.
    parameters: that the network must have.
    projection, arrays: the fields of `Pairs`.

  Raises:
    ValueError: the network has another number of parameters.
  """
  device = torch_timing.device()
  network = EpipolarPose(depth, arrays["targets"].shape[1]).to(device)
  torch_pose_resnet.require_parameters(network, parameters)
  tensors = {
    name: torch.tensor(np.ascontiguousarray(x), device=device) for name, x in arrays.items()
  }
  return network, Pairs(projection=projection, **tensors)


def measure_locate(problem: dict[str, Any], **row: Any) -> timing.Row:
  """Times `locate`; `problem` is what `build` takes, `row` what `timing.measure` takes."""
  network, pairs = build(**problem)
  network.eval()
  return torch_timing.measure("original's structure", lambda: locate(network, pairs), **row)


def measure_step(problem: dict[str, Any], **row: Any) -> timing.Row:
  """Times `train`, with Adam; arguments as of `measure_locate`."""
  network, pairs = build(**problem)
  optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
  return torch_timing.measure(
    "original's structure", lambda: train(network, optimizer, pairs), **row
  )


def _decode(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
  """Peaks [n, j, 2] in network px, refined by the mean of a window, and their values [n, j]."""
  n, j, h, w = maps.shape
  score, index = maps.reshape(n * j, -1).max(dim=1)
  peak = torch.stack([index % w, index // w], dim=-1).to(maps.dtype)
  offset = torch.arange(-_WINDOW, _WINDOW + 1, dtype=maps.dtype, device=maps.device)
  v, u = torch.meshgrid(offset, offset, indexing="ij")
  window = torch.stack([u, v], dim=-1)
  size = torch.tensor([w - 1, h - 1], dtype=maps.dtype, device=maps.device)
  grid = 2 * (peak[:, None, None] + window) / size - 1
  seen = F.grid_sample(maps.reshape(n * j, 1, h, w), grid, align_corners=True)[:, 0]
  seen = torch.where(seen > 1e-6, seen, 0.0)[..., None]
  shift = (seen * window).sum(dim=(1, 2)) / seen.sum(dim=(1, 2)).clamp(min=1e-12)
  return (4 * (peak + shift) + 1.5).reshape(n, j, 2), score.reshape(n, j)


def _triangulate(projection: np.ndarray, uv: np.ndarray) -> np.ndarray:
  """The point [3] that cameras [v, 3, 4] see at uv [v, 2], linear."""
  rows = uv[:, :, None] * projection[:, 2:] - projection[:, :2]
  point = np.linalg.svd(rows.reshape(-1, 4))[2][-1]
  return point[:3] / point[3]
