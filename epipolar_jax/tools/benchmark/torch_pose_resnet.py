"""PoseResNet in PyTorch, to be timed beside ours: the same layers and nothing else."""

from typing import Any

import numpy as np
import torch
from torch import nn

from epipolar_jax.tools.benchmark import timing, torch_timing

# depth: (blocks of each stage, bottlenecks)
_BLOCKS = {
  18: ((2, 2, 2, 2), False),
  34: ((3, 4, 6, 3), False),
  50: ((3, 4, 6, 3), True),
  101: ((3, 4, 23, 3), True),
  152: ((3, 8, 36, 3), True),
}
_DECONV_CHANNELS = 256


class _Block(nn.Module):
  """Convolutions of these (channels, size, stride), each normalised, and a shortcut."""

  def __init__(self, channels: int, convolutions: list[tuple[int, int, int]]):
    super().__init__()
    layers, inside = [], channels
    for features, size, stride in convolutions:
      layers.append(nn.Conv2d(inside, features, size, stride, size // 2, bias=False))
      layers += [nn.BatchNorm2d(features), nn.ReLU(inplace=True)]
      inside = features
    self.body = nn.Sequential(*layers[:-1])
    stride = max(stride for _, _, stride in convolutions)
    self.shortcut = nn.Identity()
    if stride > 1 or inside != channels:
      self.shortcut = nn.Sequential(
        nn.Conv2d(channels, inside, 1, stride, bias=False), nn.BatchNorm2d(inside)
      )

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    return torch.relu_(self.body(x) + self.shortcut(x))


class PoseResNet(nn.Module):
  """`features`: images [n, 3, h, w] to [n, 256, h/4, w/4]; `head`: those to [n, j, h/4, w/4].

  Args:
    depth: of the ResNet trunk.
    num_joints: j.
  """

  def __init__(self, depth: int, num_joints: int):
    super().__init__()
    blocks, bottleneck = _BLOCKS[depth]
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    layers.append(nn.MaxPool2d(3, 2, 1))
    channels = 64
    for stage, count in enumerate(blocks):
      inner = 64 * 2**stage
      for index in range(count):
        stride = 2 if stage > 0 and index == 0 else 1
        if bottleneck:
          shape = [(inner, 1, 1), (inner, 3, stride), (4 * inner, 1, 1)]
        else:
          shape = [(inner, 3, stride), (inner, 3, 1)]
        layers.append(_Block(channels, shape))
        channels = shape[-1][0]
    for _ in range(3):
      layers.append(nn.ConvTranspose2d(channels, _DECONV_CHANNELS, 4, 2, 1, bias=False))
      layers += [nn.BatchNorm2d(_DECONV_CHANNELS), nn.ReLU(inplace=True)]
      channels = _DECONV_CHANNELS
    self.features = nn.Sequential(*layers)
    self.head = nn.Conv2d(channels, num_joints, 1)

  def forward(self, images: torch.Tensor) -> torch.Tensor:
    return self.head(self.features(images))


def measure(
  name: str,
  depth: int,
  parameters: int,
  images: np.ndarray,
  maps: np.ndarray,
  about: dict[str, dict[str, Any]],
) -> dict[str, timing.Row]:
  """Times the forward pass and the training step (squared error, Adam), channels last.

  Args:
    name: of the rows.
    depth: of the trunk.
    parameters: that the network must have.
    images: [n, h, w, 3].
    maps: [n, h/4, w/4, j], to be predicted.
    about: of "forward" and "step", what `timing.measure` takes; bfloat16 in dtype is autocast.

  Returns:
    The rows of "forward" and "step".

  Raises:
    ValueError: this network is not the one that it is compared with.
  """
  device = torch_timing.device()
  network = PoseResNet(depth, maps.shape[-1]).to(device, memory_format=torch.channels_last)
  require_parameters(network, parameters)
  images, maps = (torch.tensor(x, device=device).permute(0, 3, 1, 2) for x in (images, maps))
  optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
  mixed = about["forward"]["dtype"] == "bfloat16"

  def run() -> torch.Tensor:
    with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
      return network(images)

  def forward():
    network.eval()
    with torch.inference_mode():
      return run()

  def step():
    network.train()
    optimizer.zero_grad()
    (run().float() - maps).square().mean().backward()
    optimizer.step()

  if forward().shape != maps.shape:
    raise ValueError(f"PyTorch's maps are {tuple(forward().shape)}, ours {tuple(maps.shape)}")
  functions = {"forward": forward, "step": step}
  return {
    kind: torch_timing.measure(name, function, **about[kind])
    for kind, function in functions.items()
  }


def require_parameters(module: nn.Module, count: int) -> None:
  """Raises ValueError unless a module has so many trained numbers."""
  found = sum(x.numel() for x in module.parameters())
  if found != count:
    raise ValueError(f"PyTorch's network has {found:,} parameters, ours {count:,}")
