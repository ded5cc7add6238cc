// Runs the engine, one image after the other, beside the page.
"use strict";

let engine, module, models;

/** Starts the engine; after an error in it, from the beginning, as its memory may be damaged. */
async function start() {
  engine = (await WebAssembly.instantiate(module)).exports;
  for (const model of models) found(engine.load(given(model), model.length));
}

function decoded(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const letters = atob(base64), bytes = new Uint8Array(letters.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = letters.charCodeAt(at);
  return bytes;
}

/** Copies bytes into the engine's memory; the call that gets them frees them. */
function given(bytes) {
  const at = engine.alloc(bytes.length) >>> 0;
  new Uint8Array(engine.memory.buffer, at, bytes.length).set(bytes);
  return at;
}

/** Returns what a call has left, or throws the reason for which it failed. */
function found(isDone) {
  const at = engine.result() >>> 0, bytes = engine.memory.buffer.slice(at, at + engine.result_length());
  if (isDone) return bytes;
  throw new Error(new TextDecoder().decode(bytes));
}

/** JPEG, PNG and TIFF, which the engine reads to the same levels as the program. */
function isForEngine(bytes) {
  const marks = [[0xFF, 0xD8], [0x89, 0x50, 0x4E, 0x47], [0x49, 0x49], [0x4D, 0x4D]];
  return marks.some(mark => mark.every((byte, at) => bytes[at] === byte));
}

/** Gives the engine a file or a camera's image. */
async function open(source) {
  let image = source, orientation = 1;
  if (source instanceof Blob) {
    const bytes = new Uint8Array(await source.arrayBuffer());
    if (isForEngine(bytes)) return found(engine.open(given(bytes), bytes.length));
    orientation = engine.orientation(given(bytes), bytes.length);
    const imageOrientation = orientation > 1 ? "none" : "from-image";
    const options = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation };
    image = await createImageBitmap(source, options).catch(() => {
      throw new Error("this browser finds no image in it; save it as JPEG or PNG");
    });
  }
  const { width, height } = image;
  const pen = new OffscreenCanvas(width, height).getContext("2d");
  pen.drawImage(image, 0, 0);
  const pixels = given(pen.getImageData(0, 0, width, height).data);
  found(engine.take(pixels, height, width, orientation));
}

async function thumbnail() {
  const bytes = found(engine.thumbnail(320)), [height, width] = new Uint32Array(bytes, 0, 2);
  const pixels = new ImageData(new Uint8ClampedArray(bytes, 8), width, height);
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return { width, height, file: await canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 }) };
}

const tasks = {
  async start({ wasm, weights }) {
    const unpacked = new Blob([decoded(wasm)]).stream().pipeThrough(new DecompressionStream("gzip"));
    module = await WebAssembly.compile(await new Response(unpacked).arrayBuffer());
    models = weights.map(decoded);
    await start();
    return {};
  },
  async classify({ source }) {
    await open(source);
    const probabilities = new Float32Array(found(engine.probabilities()));
    return { probabilities, thumbnail: await thumbnail() };
  },
  async explain({ source, index }) {
    await open(source);
    return { map: new Float32Array(found(engine.map(index))) };
  },
};

async function answer({ id, task, ...values }) {
  try {
    postMessage({ id, ...await tasks[task](values) });
  } catch (error) {
    const isTrap = error instanceof WebAssembly.RuntimeError;
    postMessage({ id, error: isTrap ? "it is damaged, or takes too much memory" : error.message });
    if (isTrap && task !== "start") await start();
  }
}

let queue = Promise.resolve();
onmessage = ({ data }) => { queue = queue.then(() => answer(data)); };
