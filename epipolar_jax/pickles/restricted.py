"""A pickle reader that knows data and nothing else: it imports, looks up and calls nothing.

Python's own unpickler, even with `find_class` overridden, sets attributes, calls classes and grows
its memo to any index a file names. This one runs the few opcodes that checkpoints are written with
(protocol 2, `torch.save`'s default, to 5), refuses all others, and needs memory in proportion to
its input.
"""

import pickletools
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

PROTOCOLS = range(2, 6)


class PickleError(ValueError):
  """A pickle that is damaged or holds something that is not allowed."""


class Global(NamedTuple):
  """A name the pickle mentioned, as plain text.

  Attributes:
    name: "module.name", one of those that were allowed.
  """

  name: str


# Numbers as the format writes them, compiled: annotation files hold millions.
_LAYOUTS = {layout: struct.Struct(layout) for layout in ("<B", "<H", "<I", "<Q", "<i", ">d")}

Function = Callable[[tuple[Any, ...]], Any]


def loads(
  data: bytes,
  start: int = 0,
  *,
  functions: Mapping[str, Function] | None = None,
  names: frozenset[str] = frozenset(),
  persistent_load: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
  """Reads one pickle.

  Args:
    data: holds the pickle; more may follow it.
    start: its first byte.
    functions: what "module.name(arguments)" stands for; each gets the tuple of arguments, which it
      must not trust, and raises `PickleError`.
    names: other globals that may be mentioned (not called); they become `Global`.
    persistent_load: what a persistent id stands for; None: there are none.

  Returns:
    The value, of dict (an OrderedDict too), list, tuple, str, int, float, bool, None, `Global` and
    what the functions return; and the position after the pickle.

  Raises:
    PickleError: anything else is in it, or it ends early.
  """
  machine = Machine(
    data, start, functions=functions or {}, names=names, persistent_load=persistent_load
  )
  return machine.run(), machine.position


class Machine:
  """The stack machine of the pickle format, cut down; see `loads`.

  Attributes:
    kind: what is read, for messages.
    hint: what may be in it, for messages.
    steps: what to do for each operation that is allowed. A subclass may know more of them.
  """

  kind = "a checkpoint"
  hint = (
    "only tensors, numbers, texts and their dicts and lists are read. Save the state_dict alone"
  )
  steps: Mapping[bytes, "Callable[[Machine], None]"] = {}

  def __init__(
    self,
    data: bytes,
    position: int,
    *,
    functions: Mapping[str, Function],
    names: frozenset[str],
    persistent_load: Callable[[Any], Any] | None,
  ):
    self.data, self.position, self._end = data, position, len(data)
    self.functions, self._names = functions, names
    self._persistent_load = persistent_load
    self.stack: list[Any] = []
    self._marks: list[int] = []
    self.memo: dict[int, Any] = {}

  def run(self) -> Any:
    steps = self.steps
    while True:
      code = self.take(1)
      if code == b".":
        return self.pop()
      if code not in steps:
        known = pickletools.code2op.get(code.decode("latin1"))
        name = known.name if known else repr(code)
        raise PickleError(f"the pickle operation {name} is not allowed in {self.kind}")
      steps[code](self)

  def take(self, count: int) -> bytes:
    start, self.position = self.position, self.position + count
    if self.position > self._end:
      raise PickleError("the file ends in the middle of a pickle: it is truncated or damaged")
    return self.data[start : self.position]

  def number(self, layout: str) -> Any:
    return _LAYOUTS[layout].unpack(self.take(_LAYOUTS[layout].size))[0]

  def push(self, value: Any) -> None:
    self.stack.append(value)

  def pop(self) -> Any:
    floor = self._marks[-1] if self._marks else 0
    if len(self.stack) <= floor:
      raise PickleError("damaged pickle: its stack is empty")
    return self.stack.pop()

  def pop_mark(self) -> list[Any]:
    if not self._marks:
      raise PickleError("damaged pickle: a mark is missing")
    start = self._marks.pop()
    values = self.stack[start:]
    del self.stack[start:]
    return values

  def protocol(self) -> None:
    version = self.number("<B")
    if version not in PROTOCOLS:
      raise PickleError(f"pickle protocol {version}; {self.kind} is written with one of 2 to 5")

  def mark(self) -> None:
    self._marks.append(len(self.stack))

  def text(self, layout: str, encoding: str) -> None:
    try:
      self.push(self.take(self.number(layout)).decode(encoding))
    except UnicodeDecodeError as error:
      raise PickleError("damaged pickle: a text is not UTF-8") from error

  def long(self) -> None:
    self.push(int.from_bytes(self.take(self.number("<B")), "little", signed=True))

  def tuple(self, count: int) -> None:
    floor = self._marks[-1] if self._marks else 0
    start = len(self.stack) - count
    if start < floor:
      raise PickleError("damaged pickle: its stack is empty")
    values = tuple(self.stack[start:])
    del self.stack[start:]
    self.push(values)

  def marked_tuple(self) -> None:
    self.push(tuple(self.pop_mark()))

  def put(self, layout: str) -> None:
    value = self.pop()
    self.push(value)
    self.memo[self.number(layout)] = value

  def get(self, layout: str) -> None:
    index = self.number(layout)
    if index not in self.memo:
      raise PickleError(f"damaged pickle: it recalls value {index}, which it never stored")
    self.push(self.memo[index])

  def memoize(self) -> None:
    value = self.pop()
    self.push(value)
    self.memo[len(self.memo)] = value

  def append(self, values: list[Any]) -> None:
    self.top(list).extend(values)

  def set_items(self, values: list[Any]) -> None:
    target = self.top(dict)
    if len(values) % 2:
      raise PickleError("damaged pickle: a key without a value")
    for key, value in zip(values[::2], values[1::2]):
      target[check_key(key)] = value

  def pair(self) -> list[Any]:
    value = self.pop()
    return [self.pop(), value]

  def top(self, kind: type) -> Any:
    value = self.pop()
    self.push(value)
    if type(value) is not kind:
      raise PickleError(f"damaged pickle: a {type(value).__name__} where a {kind.__name__} belongs")
    return value

  def global_name(self) -> None:
    parts = []
    for _ in range(2):
      end = self.data.find(b"\n", self.position, self.position + 200)
      if end < 0:
        raise PickleError("damaged pickle: the name of a global does not end")
      parts.append(self.take(end - self.position).decode("latin1"))
      self.take(1)
    self.refer(".".join(parts))

  def stack_global(self) -> None:
    name, module = self.pop(), self.pop()
    if type(name) is not str or type(module) is not str:
      raise PickleError("damaged pickle: the name of a global is not a text")
    self.refer(f"{module[:100]}.{name[:100]}")

  def refer(self, name: str) -> None:
    if name not in self.functions and name not in self._names:
      raise PickleError(f"it refers to {name!r}, which is not allowed in {self.kind}: {self.hint}")
    self.push(Global(name))

  def call(self) -> None:
    arguments, function = self.pop(), self.pop()
    called = type(function) is Global and function.name in self.functions
    if not called or type(arguments) is not tuple:
      raise PickleError(f"it calls something that is not a function of {self.kind}")
    self.push(self.functions[function.name](arguments))

  def build(self) -> None:
    """Attributes of an OrderedDict (torch's `_metadata`): left out. Nothing else may have any."""
    state = self.pop()
    self.top(dict)
    if type(state) is not dict:
      raise PickleError(f"it sets the state of an object, which is not allowed in {self.kind}")

  def persistent(self) -> None:
    if self._persistent_load is None:
      raise PickleError("damaged pickle: a persistent id where none belongs")
    self.push(self._persistent_load(self.pop()))


def show(value: Any) -> str:
  """A value of a pickle for an error message; nested ones, which may be endless, by type only."""
  plain = (str, int, float, bool, type(None))
  if type(value) in plain:
    return repr(value)[:80]
  if type(value) is tuple and len(value) <= 8 and all(type(x) in plain for x in value):
    return f"({', '.join(map(show, value))})"
  return f"a {type(value).__name__}"


def check_key(key: Any) -> Any:
  """Returns a dict key; nested tuples would make Python's hash recurse without a limit."""
  if key is not None and type(key) not in (str, int, float, bool):
    raise PickleError(f"a {type(key).__name__} is not allowed as a key")
  return key


Machine.steps = {
  b"\x80": Machine.protocol,
  b"(": Machine.mark,
  b"N": lambda m: m.push(None),
  b"\x88": lambda m: m.push(True),
  b"\x89": lambda m: m.push(False),
  b")": lambda m: m.push(()),
  b"]": lambda m: m.push([]),
  b"}": lambda m: m.push({}),
  b"K": lambda m: m.push(m.number("<B")),
  b"M": lambda m: m.push(m.number("<H")),
  b"J": lambda m: m.push(m.number("<i")),
  b"G": lambda m: m.push(m.number(">d")),
  b"\x8a": Machine.long,
  b"X": lambda m: m.text("<I", "utf-8"),
  # Texts of Python 2.
  b"U": lambda m: m.text("<B", "latin1"),
  b"T": lambda m: m.text("<I", "latin1"),
  # Protocol 4 and later.
  b"\x8c": lambda m: m.text("<B", "utf-8"),
  b"\x8d": lambda m: m.text("<Q", "utf-8"),
  b"\x93": Machine.stack_global,
  b"\x94": Machine.memoize,
  b"\x95": lambda m: m.take(8),
  b"\x85": lambda m: m.tuple(1),
  b"\x86": lambda m: m.tuple(2),
  b"\x87": lambda m: m.tuple(3),
  b"t": Machine.marked_tuple,
  b"q": lambda m: m.put("<B"),
  b"r": lambda m: m.put("<I"),
  b"h": lambda m: m.get("<B"),
  b"j": lambda m: m.get("<I"),
  b"a": lambda m: m.append([m.pop()]),
  b"e": lambda m: m.append(m.pop_mark()),
  b"s": lambda m: m.set_items(m.pair()),
  b"u": lambda m: m.set_items(m.pop_mark()),
  b"c": Machine.global_name,
  b"R": Machine.call,
  b"b": Machine.build,
  b"Q": Machine.persistent,
}
