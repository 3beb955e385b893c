"""The original's names of the lifting network's layers (modeling/lifting.py), both ways.

torch numbers a Sequential's layers, activations included; so do ours.
"""

import re

# torch module -> ours, below `lifter`; the image network's are single layers, without a number.
_MODULES = {
  "conv1": "pose_tower",
  "poseprior": "pose_head",
  "conv2": "view_tower",
  "viewpoint": "view_head",
}
_TORCH_MODULES = {ours: torch for torch, ours in _MODULES.items()}


def to_ours(module: str) -> tuple[str, ...] | None:
  """Path below `lifter` of a torch module such as "conv1.0"; None when it is no lifting layer."""
  if match := re.fullmatch(r"(conv[12]|poseprior|viewpoint)\.(\d+)", module):
    return (_MODULES[match[1]], f"layer{match[2]}")
  return (_MODULES[module],) if module in ("poseprior", "viewpoint") else None


def to_torch(path: tuple[str, ...]) -> str | None:
  """Torch module of a path below `lifter`: `to_ours` backwards; None for layers it has not."""
  module = _TORCH_MODULES.get(path[0]) if path else None
  if module is None:
    return None
  if len(path) == 1:
    return module if module in ("poseprior", "viewpoint") else None
  match = re.fullmatch(r"layer(\d+)", path[1])
  return f"{module}.{match[1]}" if match and len(path) == 2 else None
