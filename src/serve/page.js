"use strict";
const byId = (id) => document.getElementById(id);
const [drop, files, results, save, clear] = ["drop", "files", "results", "save", "clear"].map(byId);
const most = Number(files.dataset.most);
// Classes shown until one asks for more.
const FEW = 5;
let found = [];
let queue = [];
let isWorking = false;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Asks again where the server is busy.
async function post(path, file) {
  if (file.size > most) throw new Error(`the file has more than ${most} bytes, the limit of this server`);
  for (;;) {
    let answer;
    try {
      answer = await fetch(path, { method: "POST", body: file });
    } catch {
      throw new Error("the server doesn't answer");
    }
    if (answer.status === 429) {
      await new Promise((done) => setTimeout(done, 1000 * Number(answer.headers.get("Retry-After") || 1)));
      continue;
    }
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.error);
    return body;
  }
}

function bars(probabilities, count) {
  const sorted = Object.entries(probabilities).sort((a, b) => b[1] - a[1]).slice(0, count);
  return sorted.map(([name, probability]) => {
    const [bar, track, fill] = [element("div", "bar"), element("i"), element("b")];
    fill.style.width = `${100 * probability}%`;
    track.append(fill);
    bar.append(element("span", "", name), track, element("span", "", `${(100 * probability).toFixed(1)} %`));
    return bar;
  });
}

function sentences(prediction) {
  const said = [];
  if (prediction.unlike) said.push("Unlike the training images: what follows may mean nothing.");
  if (prediction.set && prediction.set.length !== 1) {
    said.push(`Refer to a person: ${prediction.set.length === 0 ? "no class fits" : `may be ${prediction.set.join(" or ")}`}.`);
  }
  if (prediction.flagged !== undefined) said.push(prediction.flagged ? "Flagged by the fitted threshold." : "Not flagged by the fitted threshold.");
  if (prediction.damage) said.push(`Damaged, used as far as it can be read: ${prediction.damage}.`);
  return said;
}

function show(words, prediction, file) {
  const chart = element("div");
  const count = Object.keys(prediction.probabilities).length;
  chart.append(...bars(prediction.probabilities, FEW));
  words.append(...sentences(prediction).map((line) => element("p", "", line)), chart);
  const buttons = element("p");
  if (count > FEW) {
    const more = element("button", "", `All ${count} classes`);
    more.onclick = () => { chart.replaceChildren(...bars(prediction.probabilities, count)); more.remove(); };
    buttons.append(more, " ");
  }
  const why = element("button", "", "Explain");
  why.onclick = () => explain(words, why, file);
  buttons.append(why);
  words.append(buttons);
}

async function explain(words, button, file) {
  button.disabled = true;
  try {
    const shown = await post("explain", file);
    const map = element("img", "map");
    map.src = `data:image/png;base64,${shown.overlay}`;
    map.alt = shown.words;
    words.append(map, element("p", "small", `${shown.method} of ${shown.layer}: ${shown.words}.`));
    button.remove();
  } catch (error) {
    words.append(element("p", "error", error.message));
    button.disabled = false;
  }
}

async function classify(file) {
  const [card, words, image, side] = [element("div", "result"), element("div"), element("img"), element("div")];
  image.alt = "";
  image.src = URL.createObjectURL(file);
  image.onload = () => URL.revokeObjectURL(image.src);
  // Formats that the browser doesn't know.
  image.onerror = () => image.remove();
  side.append(image);
  words.append(element("h3", "", file.name));
  card.append(side, words);
  results.prepend(card);
  try {
    const prediction = (await post("predict", file)).predictions[0];
    found.push({ file: file.name, prediction });
    show(words, prediction, file);
  } catch (error) {
    words.append(element("p", "error", error.message));
  }
  save.hidden = found.length === 0;
  clear.hidden = false;
}

// One after the other, so that a folder full of images doesn't fill the queue of the server.
async function add(list) {
  queue.push(...list);
  if (isWorking) return;
  isWorking = true;
  while (queue.length > 0) await classify(queue.shift());
  isWorking = false;
}

function csv() {
  // A spreadsheet takes what begins with these for a formula.
  const safe = (text) => (/^[=+\-@\t\r]/.test(text) ? `'${text}` : text);
  const cell = (text) => `"${safe(String(text)).replaceAll('"', '""')}"`;
  const classes = Object.keys(found[0].prediction.probabilities);
  const rows = found.map(({ file, prediction }) => [
    cell(file), cell(prediction.label), prediction.probability, ...classes.map((name) => prediction.probabilities[name]),
  ]);
  return [["file", "label", "probability", ...classes].map(cell), ...rows].map((row) => row.join(",")).join("\r\n") + "\r\n";
}

files.onchange = () => { add([...files.files]); files.value = ""; };
drop.ondragover = (event) => { event.preventDefault(); drop.classList.add("over"); };
drop.ondragleave = () => drop.classList.remove("over");
drop.ondrop = (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  add([...event.dataTransfer.files]);
};
save.onclick = () => {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "predictions.csv";
  link.click();
  URL.revokeObjectURL(link.href);
};
clear.onclick = () => {
  found = [];
  queue = [];
  results.replaceChildren();
  save.hidden = clear.hidden = true;
};
