// Writes what TensorFlow.js makes of the published MoveNet, for tests/models/test_movenet.py:
//   npm install @tensorflow/tfjs-core @tensorflow/tfjs-converter @tensorflow/tfjs-backend-wasm
//   node movenet.js FOLDER_OF_MODELS thunder 256 thunder.f32
// Every seventh pixel of the four heads' maps, row by row, float32: heatmap, center, regress, offset.
const fs = require("fs");
const tf = require("@tensorflow/tfjs-core");
const {loadGraphModel} = require("@tensorflow/tfjs-converter");
require("@tensorflow/tfjs-backend-wasm");

const HEADS = ["kpt_heatmap_0/conv2d_5", "center_0/conv2d_4", "kpt_regress_0/conv2d_6", "kpt_offset_0/conv2d_7"];

function image(size) {
  const pixels = new Int32Array(size * size * 3);
  for (let v = 0; v < size; v++) for (let u = 0; u < size; u++) for (let c = 0; c < 3; c++)
    pixels[(v * size + u) * 3 + c] = (u * u * (c + 3) + 5 * v * (u >> 2) + 31 * c * v) % 256;
  return tf.tensor(pixels, [1, size, size, 3], "int32");
}

async function main([folder, name, size, target]) {
  await tf.setBackend("wasm");
  const model = JSON.parse(fs.readFileSync(`${folder}/movenet-${name}.json`));
  const raw = fs.readFileSync(`${folder}/movenet-${name}.bin`);
  const weightData = raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength);
  const weightSpecs = model.weightsManifest[0].weights;
  const network = await loadGraphModel({load: async () => ({...model, weightSpecs, weightData})});
  const outputs = network.execute({input: image(Number(size))},
    HEADS.map((head) => `StatefulPartitionedCall/${head}/BiasAdd`));
  const parts = [];
  for (const output of outputs) {
    const [, h, w, channels] = output.shape, values = await output.data();
    for (let v = 0; v < h; v += 7) for (let u = 0; u < w; u += 7)
      parts.push(values.slice((v * w + u) * channels, (v * w + u + 1) * channels));
  }
  fs.writeFileSync(target, Buffer.concat(parts.map((x) => Buffer.from(x.buffer))));
}

main(process.argv.slice(2));
