"""What is inside a page, read back as `codec.js` reads it."""

import base64
import gzip
import json
import re
import struct

import numpy as np


def unpack(text: str):
  """What `codec.js` does, in Python."""
  data = gzip.decompress(base64.b64decode(text))
  (length,) = struct.unpack("<I", data[:4])

  def fill(node):
    if isinstance(node, dict) and "array" in node:
      count = int(np.prod(node["shape"]))
      return np.frombuffer(data, node["array"], count, node["offset"]).reshape(node["shape"])
    if isinstance(node, dict):
      return {name: fill(child) for name, child in node.items()}
    return [fill(child) for child in node] if isinstance(node, list) else node

  return fill(json.loads(data[4 : 4 + length]))


def read(html: str):
  """The tree inside a page."""
  return unpack(re.search(r'id="data">([^<]*)</script>', html)[1])


def decode_weights(codes: np.ndarray, code: dict) -> np.ndarray:
  """What the page makes of `viewer.encode_weights`."""
  if code["kind"] == "linear":
    return code["low"] + (code["high"] - code["low"]) * codes / 255.0
  return np.where(codes == 0, 0.0, 10.0 ** ((codes - 255.0) / code["per_decade"]))
