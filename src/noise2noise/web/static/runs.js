// The training runs of a folder: curves while they grow, pictures of epochs, stopping and going on.

import { ask, askJSON, post, TOKEN } from "./api.js";
import { curve } from "./curves.js";
import { View } from "./view.js";
import { begin, number, say } from "./words.js";

const LOOK_MS = 2000;

const element = (id) => document.getElementById(id);
let runs = [];
let name = decodeURIComponent(new URLSearchParams(location.search).get("run") ?? "");
let run = null;
let view = null;
let shown = null; // an epoch that was chosen; null for the newest
let timer = null;

/** Pictures of a run as what a view draws. */
class Pictures {
  constructor(name) {
    this.name = name;
    this.facts = { width: 256, height: 256, levels: 1, tile: 256 };
    this.changed = () => {};
    this.images = new Map();
    this.after = null;
  }

  async load(file) {
    if (this.images.has(file)) return this.images.get(file);
    const answer = await ask(`api/runs/${encodeURI(this.name)}/pictures/${file}`);
    const image = await createImageBitmap(await answer.blob());
    this.images.set(file, image);
    return image;
  }

  async show(noisy, file) {
    const [before, after] = await Promise.all([this.load(noisy), this.load(file)]);
    Object.assign(this.facts, { width: before.width, height: before.height });
    Object.assign(this, { before, after });
    this.changed();
  }

  look(kind) {
    const image = kind === "before" ? this.before : this.after;
    return { layers: image ? [{ image, alpha: 1 }] : [], exact: Boolean(image) };
  }

  want() {}
}

function complain(error) {
  const sentence = { 0: say("lost.gone"), 401: say(TOKEN ? "lost.restarted" : "lost.token") }[error?.status];
  element("banner").textContent = error ? (sentence ?? error.message) : "";
  element("banner").hidden = !error;
}

function list() {
  const items = runs.map((each) => {
    const line = document.createElement("li");
    const button = document.createElement("button");
    const title = document.createElement("span");
    const state = document.createElement("span");
    title.textContent = each.name;
    state.className = "state";
    state.textContent = [stateOf(each), progressOf(each)].join(" · ");
    button.setAttribute("aria-current", String(each.name === name));
    button.dataset.run = each.name;
    button.onclick = () => choose(each.name);
    button.append(title, state);
    line.append(button);
    return line;
  });
  const focused = document.activeElement?.dataset?.run;
  element("list").replaceChildren(...items);
  if (focused) element("list").querySelector(`[data-run="${CSS.escape(focused)}"]`)?.focus();
  element("none").hidden = runs.length > 0;
}

function stateOf({ running, done, epochs }) {
  if (running) return say("runs.running");
  return say(done >= epochs ? "runs.finished" : "runs.stopped");
}

function progressOf({ done, epochs }) {
  return say("runs.epochs", { done, epochs: epochs ?? "?" });
}

function choose(chosen) {
  name = chosen;
  run = null;
  shown = null;
  history.replaceState(null, "", `?run=${encodeURIComponent(name)}`);
  look();
}

async function look() {
  clearTimeout(timer);
  try {
    runs = (await askJSON("api/runs")).runs;
    if (!runs.some((each) => each.name === name)) name = runs[0]?.name ?? "";
    list();
    if (name) {
      const asked = name;
      const found = await askJSON(`api/runs/${encodeURI(name)}`);
      if (asked === name) await show(found);
    }
    complain(null);
  } catch (error) {
    complain(error);
  }
  element("run").hidden = !run;
  timer = setTimeout(look, LOOK_MS);
}

async function show(found) {
  const isNew = run?.name !== found.name;
  run = found;
  element("run").hidden = false;
  element("name").textContent = found.name;
  const best = found.best === null ? "" : say("runs.best", { value: number(found.best, 4) });
  if (isNew || !element("state").dataset.stopping || !found.running) {
    element("state").textContent = [stateOf(found), progressOf(found), best, found.title].filter(Boolean).join(" · ");
    delete element("state").dataset.stopping;
  }
  element("stop").disabled = !found.running;
  element("resume").disabled = found.running || found.done >= found.epochs;
  element("config").textContent = JSON.stringify(found.config, null, 2);
  element("log").textContent = found.log;
  element("messages").hidden = !found.log;
  draw();
  table();
  await pictures(isNew);
}

function draw() {
  if (!run) return;
  const points = (column) => run.history.map((row) => [row.epoch, row[column]]);
  curve(element("psnr"), points("validation_psnr"), "--curve-1", say("runs.psnr"));
  curve(element("loss"), points("training_loss"), "--curve-2", say("runs.loss"));
}

function table() {
  const rows = run.history.map((row) => {
    const line = document.createElement("tr");
    for (const value of [row.epoch, row.validation_psnr, row.training_loss]) {
      line.insertCell().textContent = value === null ? "–" : number(value, 4);
    }
    return line;
  });
  element("table").replaceChildren(...rows.reverse());
}

async function pictures(isNew) {
  const { noisy, epochs } = run.pictures;
  const any = Boolean(noisy) && epochs.length > 0;
  element("nopictures").hidden = any;
  element("stage").hidden = element("epoch").parentElement.hidden = !any;
  if (!any) return view.show(null);
  let index = epochs.findIndex(({ epoch }) => epoch === shown);
  if (index < 0) index = epochs.length - 1;
  Object.assign(element("epoch"), { min: 0, max: epochs.length - 1, step: 1 });
  element("epoch").value = String(index);
  element("epoch-value").textContent = String(epochs[index].epoch);
  element("epoch").setAttribute("aria-valuetext", `${say("runs.epoch")} ${epochs[index].epoch}`);
  const source = isNew || !view.source ? new Pictures(run.name) : view.source;
  await source.show(noisy, epochs[index].file);
  if (view.source !== source) {
    view.show(source);
    view.begin();
  }
}

async function act(what) {
  try {
    await post(`api/runs/${encodeURI(name)}/${what}`);
    if (what === "stop") {
      element("state").textContent = say("runs.stopping");
      element("state").dataset.stopping = "true";
    } else element("messages").open = true;
  } catch (error) {
    complain(error);
  }
  look();
}

async function start() {
  view = new View(element("stage"));
  await begin(() => {
    view.speak();
    list();
    if (run) show(run);
  });
  view.speak();
  element("epoch").addEventListener("input", () => {
    const chosen = run.pictures.epochs[Number(element("epoch").value)];
    shown = chosen === run.pictures.epochs.at(-1) ? null : chosen.epoch;
    pictures(false).catch(complain);
  });
  element("stop").onclick = () => act("stop");
  element("resume").onclick = () => act("resume");
  window.addEventListener("resize", draw);
  window.addEventListener("theme", draw);
  await look();
  document.body.dataset.ready = "true";
}

start();
