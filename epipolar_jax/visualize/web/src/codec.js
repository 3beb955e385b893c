// From the text in the page to a tree with typed arrays. visualize/page.py is the other half.

const TYPES = { uint8: Uint8Array, int32: Int32Array, float32: Float32Array };

/** Base64 of gzip of (u32 length, JSON, arrays) -> the JSON tree with its arrays put in. */
export async function unpack(text) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("the browser is too old (Chrome 80, Firefox 113, Safari 16.4 or newer)");
  }
  const packed = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const tree = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return fill(tree, buffer);
}

function fill(node, buffer) {
  if (Array.isArray(node)) return node.map((child) => fill(child, buffer));
  if (node === null || typeof node !== "object") return node;
  if ("array" in node) {
    const size = node.shape.reduce((a, b) => a * b, 1);
    return { shape: node.shape, data: new TYPES[node.array](buffer, node.offset, size) };
  }
  return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, fill(child, buffer)]));
}

/** The part of an array under some leading indices, without a copy. */
export function part(array, ...indices) {
  let { shape } = array;
  let [start, size] = [0, array.data.length];
  for (const index of indices) {
    size /= shape[0];
    start += index * size;
    shape = shape.slice(1);
  }
  return array.data.subarray(start, start + size);
}

/** JPEG bytes -> a decoded image element. */
export async function decodeImage(array) {
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([array.data], { type: "image/jpeg" }));
  await image.decode();
  return image;
}
