// What a page does: takes images, shows what the engine finds, and saves it.
"use strict";

const $ = id => document.getElementById(id);
const about = JSON.parse($("about").textContent);
const images = new Map();

/** Makes an element; text is never markup. */
function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// The engine works in a worker, so that the page stays responsive.
const script = new Blob([$("worker").textContent], { type: "text/javascript" });
const worker = new Worker(URL.createObjectURL(script));
const waiting = new Map();
let count = 0;
worker.onmessage = ({ data }) => {
  const { done, failed } = waiting.get(data.id);
  waiting.delete(data.id);
  data.error === undefined ? done(data) : failed(new Error(data.error));
};

function asked(task, values) {
  const id = ++count;
  worker.postMessage({ id, task, ...values });
  return new Promise((done, failed) => waiting.set(id, { done, failed }));
}

/** What follows from the probabilities, as `emberlens predict` reports it. */
function decided(row) {
  const { classes, threshold, coverage } = about;
  const ranked = [...row.keys()].sort((a, b) => row[b] - row[a]);
  const set = coverage && ranked.filter(index => row[index] >= Math.fround(coverage.probability));
  return {
    ranked,
    best: classes[ranked[0]],
    isReferred: Boolean(set) && set.length !== 1,
    set: set && set.map(index => classes[index]).join(" or "),
    isFlagged: threshold && row[threshold.index] >= Math.fround(threshold.probability),
  };
}

function add(name, source) {
  const id = ++count, card = element("article", { className: "card" });
  card.append(element("strong", {}, name), element("span", { className: "soft" }, "waiting"));
  $("cards").append(card);
  const image = { name, source, card };
  images.set(id, image);
  $("results").hidden = false;
  asked("classify", { source }).then(
    ({ probabilities, thumbnail }) => show(image, probabilities, thumbnail),
    error => {
      image.error = error.message;
      card.replaceChildren(
        element("div", { className: "words" },
          element("strong", {}, name), element("p", { className: "wrong" }, error.message)));
    }).then(summarize);
  summarize();
}

function show(image, probabilities, thumbnail) {
  image.probabilities = probabilities;
  const found = decided(probabilities), words = element("div", { className: "words" });
  const verdict = element("p", { className: "verdict" }, found.isReferred ? "refer" : found.best);
  if (found.isReferred) verdict.classList.add("referred");
  words.append(element("strong", {}, image.name), verdict);
  if (found.isReferred) {
    words.append(element("p", { className: "soft" },
      found.set ? `A person should decide: ${found.set}.` : "A person should decide: no class fits."));
  }
  if (about.threshold) {
    const { index, probability } = about.threshold, sign = found.isFlagged ? "≥" : "<";
    words.append(element("p", { className: found.isFlagged ? "flagged" : "soft" },
      `${found.isFlagged ? "Counts" : "Doesn't count"} as ${about.classes[index]}: `
      + `${probabilities[index].toFixed(4)} ${sign} ${probability.toFixed(4)}`));
  }
  const shown = found.ranked.slice(0, 6);
  words.append(...shown.map(index => bar(image, index)));
  if (found.ranked.length > shown.length) {
    words.append(element("p", { className: "soft" },
      `and ${found.ranked.length - shown.length} other classes`));
  }
  const { width, height, file } = thumbnail;
  image.canvas = element("canvas", { width, height, hidden: true });
  const shot = element("img", { src: URL.createObjectURL(file), alt: image.name, width, height });
  const frame = element("div", { className: "shot" }, shot, image.canvas);
  frame.style.width = `${Math.min(220, 320 * width / height)}px`;
  image.card.replaceChildren(frame, words);
}

/** A class with its probability; pressed, it shows the evidence for the class. */
function bar(image, index) {
  const share = image.probabilities[index];
  const fill = element("i", {});
  fill.style.width = `${100 * share}%`;
  const button = element("button", { className: "bar", type: "button" },
    element("span", {}, about.classes[index]), element("b", {}, share.toFixed(4)),
    element("u", {}, fill));
  button.title = `Show the evidence for ${about.classes[index]}`;
  button.setAttribute("aria-pressed", "false");
  button.onclick = () => explain(image, index, button);
  return button;
}

async function explain(image, index, button) {
  const isShown = button.getAttribute("aria-pressed") === "true";
  image.card.querySelectorAll(".bar").forEach(bar => bar.setAttribute("aria-pressed", "false"));
  image.canvas.hidden = true;
  if (isShown) return;
  button.setAttribute("aria-pressed", "true");
  const { map } = await asked("explain", { source: image.source, index });
  if (button.getAttribute("aria-pressed") === "false") return;
  draw(image.canvas, map);
  image.canvas.hidden = false;
}

// Colors of matplotlib's `inferno` at multiples of an eighth.
const COLORS = [[0, 0, 4], [27, 12, 65], [74, 12, 107], [120, 28, 109], [165, 44, 96],
  [207, 68, 70], [237, 105, 37], [251, 155, 6], [252, 255, 164]];

/** Draws a map, enlarged bilinearly, with opacity by evidence. */
function draw(canvas, [rows, columns, top, left, high, wide, ...map]) {
  const { width, height } = canvas, pen = canvas.getContext("2d");
  const pixels = pen.createImageData(width, height);
  const place = (at, side, start, length, count) => {
    const share = ((at + 0.5) / side - start) / length;
    const to = Math.min(Math.max(share * count - 0.5, 0), count - 1);
    return [share >= 0 && share <= 1, Math.floor(to), Math.min(Math.floor(to) + 1, count - 1), to % 1];
  };
  for (let y = 0, at = 0; y < height; y++) {
    const [isInside, above, below, down] = place(y, height, top, high, rows);
    for (let x = 0; x < width; x++, at += 4) {
      const [isInsideToo, before, after, right] = place(x, width, left, wide, columns);
      if (!isInside || !isInsideToo) continue;
      const line = row => map[row * columns + before] * (1 - right) + map[row * columns + after] * right;
      const value = line(above) * (1 - down) + line(below) * down;
      const step = Math.min(Math.floor(value * 8), 7), part = value * 8 - step;
      for (let channel = 0; channel < 3; channel++) {
        pixels.data[at + channel] =
          COLORS[step][channel] * (1 - part) + COLORS[step + 1][channel] * part;
      }
      pixels.data[at + 3] = 255 * 0.7 * value;
    }
  }
  pen.putImageData(pixels, 0, 0);
}

function summarize() {
  const counts = new Map(), all = [...images.values()];
  for (const { probabilities, error } of all) {
    const found = probabilities && decided(probabilities);
    const what = error ? "unreadable" : !found ? "waiting" : found.isReferred ? "refer" : found.best;
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }
  const parts = [...counts].map(([what, count]) => `${count} ${what}`);
  $("summary").textContent = `${all.length} ${all.length === 1 ? "image" : "images"}: ${parts.join(", ")}`;
}

/** The results with the columns of `predict --format csv`, then the probability of each class. */
function table() {
  const { classes, threshold, coverage } = about;
  const head = ["path", "label", "probability"];
  if (threshold) head.push(`flagged_${classes[threshold.index]}`);
  if (coverage) head.push("set");
  const rows = [...images.values()].filter(image => image.probabilities).map(image => {
    const row = image.probabilities, { ranked, best, isReferred, set, isFlagged } = decided(row);
    const number = value => String(Number(value.toPrecision(8)));
    const cells = [image.name, isReferred ? "refer" : best, number(row[ranked[0]])];
    if (threshold) cells.push(isFlagged ? "yes" : "no");
    if (coverage) cells.push(set || "none fits");
    return [...cells, ...[...row].map(number)];
  });
  const cell = text => /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  const lines = [[...head, ...classes], ...rows].map(row => row.map(cell).join(","));
  return lines.join("\n") + "\n";
}

function save() {
  const file = new Blob([table()], { type: "text/csv" });
  const link = element("a", { href: URL.createObjectURL(file), download: `${about.name}.csv` });
  link.click();
  URL.revokeObjectURL(link.href);
}

function clear() {
  document.querySelectorAll(".shot img").forEach(image => URL.revokeObjectURL(image.src));
  images.clear();
  $("cards").replaceChildren();
  $("results").hidden = true;
}

/** Adds the images of a folder, each with its path, and tells how many other files are in it. */
function addFolder(files) {
  const isImage = ([, { name, type }]) => type.startsWith("image/") || /\.tiff?$/i.test(name);
  const found = files.filter(isImage), others = files.length - found.length;
  found.forEach(([path, file]) => add(path, file));
  if (others > 0 || found.length === 0) {
    $("state").textContent = `Left out, because they are no images: ${others} of ${files.length} files.`;
  }
}

/** Returns the files of a dropped folder at any depth, each with its path. */
async function filesIn(entry, path = "") {
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    return [[path + file.name, file]];
  }
  const reader = entry.createReader(), found = [];
  const batch = () => new Promise((done, failed) => reader.readEntries(done, failed));
  for (let entries = await batch(); entries.length > 0; entries = await batch()) {
    for (const inside of entries) found.push(...await filesIn(inside, `${path}${entry.name}/`));
  }
  return found;
}

/** Adds what is dropped. Chrome gives a page that is opened from disk files, but no folders. */
function addDropped(item) {
  const entry = item.webkitGetAsEntry(), file = item.getAsFile();
  if (entry?.isDirectory) {
    filesIn(entry).then(addFolder, () => {
      $("state").textContent =
        `This browser doesn't hand over the folder "${entry.name}": choose it with "Choose a folder".`;
    });
  } else if (file) {
    add(file.name, file);
  }
}

let stream;
async function openCamera() {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    $("state").textContent = `No camera: ${error.message}`;
    return;
  }
  $("video").srcObject = stream;
  $("camera").showModal();
}

async function shoot() {
  const name = `camera-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.png`;
  const { videoWidth: width, videoHeight: height } = $("video");
  const canvas = element("canvas", { width, height });
  canvas.getContext("2d").drawImage($("video"), 0, 0);
  canvas.toBlob(file => add(name, file));
}

$("files").onchange = ({ target }) => {
  [...target.files].forEach(file => add(file.name, file));
  target.value = "";
};
$("folder").onchange = ({ target }) => {
  addFolder([...target.files].map(file => [file.webkitRelativePath, file]));
  target.value = "";
};
document.ondragover = event => { event.preventDefault(); $("drop").classList.add("over"); };
document.ondragleave = () => $("drop").classList.remove("over");
document.ondrop = event => {
  event.preventDefault();
  $("drop").classList.remove("over");
  [...event.dataTransfer.items].forEach(addDropped);
};
document.onpaste = ({ clipboardData }) =>
  [...clipboardData.files].forEach(file => add(file.name, file));
$("save").onclick = save;
$("clear").onclick = clear;
$("open-camera").hidden = !navigator.mediaDevices;
$("open-camera").onclick = openCamera;
$("shoot").onclick = shoot;
$("camera").onclose = () => stream.getTracks().forEach(track => track.stop());

const models = [...document.querySelectorAll(".model")];
const weights = models.map(model => model.textContent);
asked("start", { wasm: $("engine").textContent, weights }).then(
  () => {
    [$("engine"), ...models].forEach(element => element.remove());
    $("state").textContent = "Ready. Images stay on this device.";
    document.body.dataset.ready = Math.round(performance.now());
  },
  error => { $("state").textContent = `The network can't be started: ${error.message}`; });
