// The page: files are dropped, looked at, and saved.

import { ask, askJSON, download, post, Refusal, TOKEN } from "./api.js";
import { chosen, dropped, images } from "./dropping.js";
import { Noise } from "./noise.js";
import { Tiles } from "./tiles.js";
import { View } from "./view.js";
import { begin, has, number, say } from "./words.js";

const AT_ONCE = 2;
const BUSY_MS = 500;
const IDLE_MS = 20000;
const QUIET_MS = 400; // after the last plane that was passed the noise is measured
const MODES = ["divider", "before", "after", "residual"];

const element = (id) => document.getElementById(id);
// {blob, name, packed, id, facts, noise, tiles, job, fits, error, trouble, thumbnail, plane, sample}
const files = [];
const way = { model: "", quality: "balanced", strength: 1, noise: "", single: false };
let told = null; // the field for the noise
let about = null;
let page = null;
let current = null;
let asked = null; // the files whose results are waited for, to be downloaded
let view = null;
let polling = null;
let measuring = null;
let lost = false;
let picked = false; // whether somebody chose a file; until then the first is shown

// -- words ----------------------------------------------------------------------------------------

function tell(sentence) {
  element("status").textContent = sentence;
}

function complain(sentence) {
  element("banner").textContent = sentence;
  element("banner").hidden = !sentence;
}

function size(bytes) {
  const unit = bytes >= 2 ** 20 ? ["MB", 2 ** 20] : ["kB", 2 ** 10];
  return `${number(bytes / unit[1], 3)} ${unit[0]}`;
}

function describe(noise) {
  const sentences = [say(`noise.${noise.kind}`)];
  const told = !["unsure", "none"].includes(noise.kind);
  if (told) sentences.push(say("noise.deviation", { deviation: number(noise.deviation, 3) }));
  if (told && noise.shared) sentences.push(say("noise.shared"));
  if (told && noise.impulses) sentences.push(say("noise.impulses", { percent: number(100 * noise.impulses) }));
  return sentences.join(" ");
}

// -- the program ----------------------------------------------------------------------------------

async function open() {
  page = (await askJSON("api/pages", { method: "POST" })).page;
}

const ofPage = (rest = "") => `api/pages/${page}${rest}`;
const ofFile = (file, rest = "") => ofPage(`/files/${file.id}${rest}`);

/** What to do about a refusal that isn't about one file. Returns whether it was one. */
function isLost(error) {
  if (!(error instanceof Refusal)) throw error;
  if (error.status === 401 || error.status === 421) {
    complain(say(TOKEN ? "lost.restarted" : "lost.token"));
    lost = true;
  } else if (error.status === 0 || error.status === 410) {
    lose();
  } else return false;
  return true;
}

/** The program doesn't answer, or has let go of this page: as soon as it answers, files go again. */
async function lose() {
  if (lost) return;
  lost = true;
  complain(say("lost.gone"));
  for (;;) {
    try {
      await askJSON("api/about");
      await open();
      break;
    } catch (error) {
      if (error.status === 401) return complain(say("lost.restarted"));
    }
    await new Promise((done) => setTimeout(done, 1000));
  }
  lost = false;
  complain("");
  for (const file of files) {
    file.id = null;
    file.job = null;
    file.fits = {};
  }
  list();
  send();
}

async function poll() {
  clearTimeout(polling);
  let busy = false;
  if (page && !lost) {
    try {
      const { jobs, fittings } = await askJSON(ofPage());
      busy = fitted(fittings);
      for (const job of jobs) {
        const file = files.find(({ id }) => id === job.file);
        if (file) file.job = job;
        busy ||= ["waiting", "working"].includes(job.state);
      }
      list();
      buttons();
      if (asked && !asked.some(isBusy)) fetchResults();
    } catch (error) {
      isLost(error);
    }
  }
  polling = setTimeout(poll, busy ? BUSY_MS : IDLE_MS);
}

// -- files ----------------------------------------------------------------------------------------

async function add(things) {
  let found = [];
  try {
    found = images(await things, about.suffixes);
    if (!lost) complain(found.length ? "" : say("drop.none"));
  } catch (error) {
    complain(say("drop.failed", { name: error.message }));
  }
  for (const each of found) files.push({ ...each, plane: 0, sample: 0, fits: {} });
  list();
  send();
}

/** Send what hasn't been sent, a few at a time. */
async function send() {
  if (!page || lost) return;
  for (;;) {
    const waiting = files.find(({ id, error, sending }) => !id && !error && !sending);
    if (!waiting || files.filter(({ sending }) => sending).length >= AT_ONCE) return;
    sendOne(waiting).then(send);
  }
}

async function sendOne(file) {
  file.sending = true;
  list();
  try {
    const name = file.name + (file.packed ?? "");
    const address = ofPage(`/files?name=${encodeURIComponent(name)}`);
    const facts = await askJSON(address, { method: "PUT", body: file.blob });
    if (!files.includes(file)) return;
    file.id = facts.file;
    file.facts = facts;
    file.tiles?.close();
    file.tiles = new Tiles(ofFile(file), facts);
    file.tiles.others = () => otherWays(file);
    file.tiles.failed = (error) => isLost(error) || tileFailed(file, error);
    prepare(file);
    if (!current || current === file || (!picked && files.indexOf(file) < files.indexOf(current))) choose(file);
    tell(say("files.arrived", { name: file.name }));
  } catch (error) {
    if (!isLost(error)) file.error = error.message;
  } finally {
    file.sending = false;
    list();
  }
}

/** Its thumbnail, and what its noise is. */
async function prepare(file) {
  try {
    const asked = new URLSearchParams({ kind: "before", level: file.facts.levels - 1, x: 0, y: 0 });
    const answer = await ask(ofFile(file, `/tile?${asked}`));
    file.thumbnail = URL.createObjectURL(await answer.blob());
    list();
    await measure(file);
  } catch (error) {
    if (!isLost(error)) file.error = error.message;
    list();
  }
}

/** What the noise of the plane is that is shown. */
async function measure(file) {
  const { plane } = file;
  const noise = await askJSON(ofFile(file, `/noise?plane=${plane}`));
  if (file.plane !== plane) return;
  file.noise = noise;
  if (file === current) settings();
}

/** A tile can't be had: of a file that is damaged, or in a way that the model can't be used in. */
function tileFailed(file, error) {
  file.trouble = error.message;
  if (error.status === 409) {
    file.fits = {}; // what was fitted was let go of, or belongs to another model
    file.trouble = null;
    fitFor(file);
  }
  list();
}

function choose(file) {
  current = file;
  if (file?.tiles) {
    file.tiles.setPlane(file.plane, file.sample);
    file.tiles.setWay(shownWay(file));
    fitFor(file);
  }
  view.show(file?.tiles ?? null);
  axes();
  settings();
  list();
}

async function remove(file) {
  files.splice(files.indexOf(file), 1);
  file.tiles?.close();
  if (file.thumbnail) URL.revokeObjectURL(file.thumbnail);
  if (file === current) choose(files.find(({ id }) => id) ?? null);
  list();
  try {
    if (file.id) await askJSON(ofFile(file), { method: "DELETE" });
  } catch (error) {
    isLost(error);
  }
}

// -- the list -------------------------------------------------------------------------------------

function list() {
  element("empty").hidden = files.length > 0;
  element("work").hidden = files.length === 0;
  const items = element("list");
  while (items.children.length > files.length) items.lastChild.remove();
  while (items.children.length < files.length) items.append(item());
  files.forEach((file, index) => show(items.children[index], file));
  buttons();
}

function item() {
  const line = document.createElement("li");
  const choice = document.createElement("button");
  choice.className = "file";
  const picture = document.createElement("img");
  picture.alt = "";
  const name = document.createElement("span");
  name.className = "name";
  const state = document.createElement("span");
  state.className = "state";
  choice.append(picture, name, state);
  const progress = document.createElement("progress");
  progress.max = 1;
  const away = document.createElement("button");
  away.className = "away";
  away.textContent = "×";
  line.append(choice, progress, away);
  return line;
}

function show(line, file) {
  const [choice, progress, away] = line.children;
  const [picture, name, state] = choice.children;
  choice.onclick = () => {
    picked = true;
    choose(file);
  };
  choice.disabled = !file.facts;
  choice.setAttribute("aria-current", String(file === current));
  if (file.thumbnail && picture.src !== file.thumbnail) picture.src = file.thumbnail;
  picture.hidden = !file.thumbnail;
  name.textContent = file.name;
  name.title = file.name;
  state.textContent = stateOf(file);
  state.classList.toggle("bad", Boolean(file.error || file.trouble || file.job?.error));
  const working = file.job?.state === "working";
  progress.hidden = !working;
  progress.value = file.job?.share ?? 0;
  progress.setAttribute("aria-label", say("save.progress", { name: file.name }));
  away.onclick = () => remove(file);
  away.setAttribute("aria-label", say("files.remove", { name: file.name }));
  away.title = say("files.remove", { name: file.name });
}

function stateOf(file) {
  if (file.error || file.trouble) return file.error ?? file.trouble;
  if (file.sending || !file.id) return say("files.sending");
  const { state, share, error, facts } = file.job ?? {};
  if (state === "failed") return error;
  if (state === "waiting") return say("save.waiting");
  if (state === "working") return say("save.working", { percent: Math.floor(100 * share) });
  if (state === "done") return say("save.done", { seconds: number(facts.seconds) });
  return say("files.facts", { width: file.facts.width, height: file.facts.height, size: size(file.facts.bytes) });
}

// -- settings -------------------------------------------------------------------------------------

function settings() {
  const noise = current?.noise;
  element("noise").textContent = noise ? describe(noise) : say("noise.measuring");
  element("noise").title = noise?.sentence ?? "";
  const chosen = about.models.find(({ name }) => name === way.model);
  const suits = noise ? `${say("model.suits", { model: noise.model })} ${reason(noise.why)}` : "";
  element("model-about").textContent = chosen ? chosen.title : suits;
  element("quality-about").textContent = say(`quality.${way.quality}.about`);
  const most = chosen && !chosen.told ? 1 : about.most_strength;
  told.show(noise, isTold());
  element("single").checked = way.single;
  element("single").disabled = !isTold();
  const fit = way.single && current ? current.fits[fitKey()] : null;
  element("single-about").textContent = aboutFit(fit);
  element("single-about").lang = fit?.said ? "en" : "";
  element("strength").max = String(most);
  if (way.strength > most) way.strength = most;
  element("strength").value = String(way.strength);
  element("strength-value").textContent = `${Math.round(100 * way.strength)} %`;
  element("strength").setAttribute("aria-valuetext", `${Math.round(100 * way.strength)} %`);
  element("about").textContent = current?.facts ? aboutFile(current.facts) : "";
}

function reason(why) {
  return why ? say(has(`why.${why}`) ? `why.${why}` : why) : "";
}

function aboutFile({ width, height, dtype, axes, notes }) {
  const planes = axes.map(([axis, count]) => `${count} ${say(`axis.${axis}`)}`);
  return [`${width} × ${height}`, ...planes, dtype, ...notes].join(" · ");
}

/** Ways that may be chosen next, those first that are computed soonest. */
function otherWays(file) {
  if (way.single) return [];
  const now = shownWay(file);
  const qualities = way.model ? ["balanced", "best"] : ["fast", "balanced", "best"];
  const suits = file.noise?.model;
  const models = about.models.filter(({ name, told }) => name !== suits && (told || way.strength <= 1));
  return [
    ...qualities.filter((quality) => quality !== "best").map((quality) => ({ ...now, quality, noise: quality === "fast" ? "" : now.noise })),
    ...models.map(({ name, told }) => ({ ...now, model: name, noise: told ? now.noise : "", quality: way.quality === "fast" ? "balanced" : way.quality })),
    ...qualities.filter((quality) => quality === "best").map((quality) => ({ ...now, quality, noise: quality === "fast" ? "" : now.noise })),
  ];
}

function setWay(change) {
  Object.assign(way, change);
  settings();
  if (current) current.trouble = null;
  current?.tiles?.setWay(shownWay(current), "strength" in change);
  if (current) fitFor(current);
  radios("quality", about.qualities, way.quality, (quality) => setWay({ quality }), (name) => name === "fast" && way.model !== "");
  buttons();
}

// -- a model of its own -----------------------------------------------------------------------------

/** Whether the model is one that is told the noise, and so can be fitted too. */
function isTold() {
  return way.model ? about.models.find(({ name }) => name === way.model)?.told : way.quality !== "fast";
}

const fitKey = () => [way.model, way.quality === "fast", way.noise].join("/");

/** What tiles are asked for: fitted models only where they are. */
function shownWay(file) {
  const noise = isTold() ? way.noise : "";
  const single = way.single && isTold() && file.fits[fitKey()]?.state === "done" ? "1" : "";
  return { ...way, noise, single };
}

/** What is saved. */
function savedWay() {
  return { ...way, noise: isTold() ? way.noise : "", single: way.single && Boolean(isTold()) };
}

/** Have the model fitted to a file, if that is wanted and wasn't asked for yet. */
async function fitFor(file) {
  const key = fitKey();
  if (!way.single || !isTold() || !file.id || file.fits[key]) return;
  file.fits[key] = { state: "waiting", share: 0 };
  try {
    file.fits[key] = await post(ofFile(file, "/fittings"), savedWay());
    fitted([file.fits[key]]);
  } catch (error) {
    if (isLost(error)) delete file.fits[key];
    else file.fits[key] = { state: "failed", error: error.message };
  }
  settings();
  poll();
}

/** Take note of how fits stand. Returns whether one is on its way. */
function fitted(fittings) {
  for (const fit of fittings) {
    const file = files.find(({ id }) => id === fit.file);
    const key = file && Object.keys(file.fits).find((each) => file.fits[each].id === fit.id);
    if (!key) continue;
    const was = file.fits[key].state;
    file.fits[key] = fit;
    if (file !== current) continue;
    settings();
    if (was !== fit.state || !file.tiles.way.single) file.tiles.setWay(shownWay(file));
  }
  return fittings.some(({ state }) => ["waiting", "working"].includes(state));
}

function aboutFit(fit) {
  if (!fit) return say("single.about");
  if (fit.state === "failed") return fit.error;
  if (fit.state === "cancelled") return say("single.stopped");
  if (fit.state !== "done") return say("single.working", { percent: Math.floor(100 * fit.share) });
  return `${fit.said[0].toUpperCase()}${fit.said.slice(1)}.`;
}

function radios(id, names, chosen, choose, isOff = () => false) {
  const group = element(id);
  const old = group.contains(document.activeElement);
  const made = names.map((name) => {
    const button = document.createElement("button");
    button.setAttribute("role", "radio");
    button.setAttribute("aria-checked", String(name === chosen));
    button.tabIndex = name === chosen ? 0 : -1;
    button.disabled = isOff(name);
    button.dataset.name = name;
    button.textContent = say(`${id}.${name}`);
    button.onclick = () => choose(name);
    button.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const free = names.filter((each) => !isOff(each));
      choose(free[(free.indexOf(name) + step + free.length) % free.length]);
    };
    return button;
  });
  group.replaceChildren(...made);
  if (old) made[names.indexOf(chosen)]?.focus();
}

function modes() {
  radios("shown", MODES, view.mode, (mode) => {
    view.setMode(mode);
    modes();
  });
}

function models() {
  const options = about.models.map(({ name, title }) => {
    const option = new Option(name, name);
    option.title = title;
    return option;
  });
  element("model").replaceChildren(new Option(say("model.auto"), ""), ...options);
  element("model").value = way.model;
}

/** Sliders for the axes of a stack, and for samples that are shown one by one. */
function axes() {
  const place = element("axes");
  place.replaceChildren();
  if (!current?.facts) return;
  const file = current;
  const { axes: sizes, samples } = file.facts;
  file.position ??= sizes.map(() => 0);
  const moved = () => {
    file.plane = sizes.reduce((plane, [, count], index) => plane * count + file.position[index], 0);
    file.tiles.setPlane(file.plane, file.sample);
    clearTimeout(measuring);
    measuring = setTimeout(() => measure(file).catch(isLost), QUIET_MS);
  };
  sizes.forEach(([axis, count], index) => {
    if (count < 2) return;
    place.append(slider(say(`axis.${axis}`), count, file.position[index], (value) => {
      file.position[index] = value;
      moved();
    }));
  });
  if (samples > 1) {
    place.append(slider(say("axis.S"), samples, file.sample, (value) => {
      file.sample = value;
      moved();
    }));
  }
}

function slider(name, count, value, change) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  const output = document.createElement("output");
  Object.assign(input, { type: "range", min: "1", max: String(count), value: String(value + 1) });
  const write = () => (output.textContent = `${input.value} / ${count}`);
  input.addEventListener("input", () => {
    write();
    change(Number(input.value) - 1);
  });
  write();
  label.append(name, input, output);
  return label;
}

// -- saving ---------------------------------------------------------------------------------------

const ready = () => files.filter(({ id, error }) => id && !error);
const fitsOf = ({ fits }) => Object.values(fits).filter(({ id, state }) => id && ["waiting", "working"].includes(state));
const isBusy = ({ job }) => ["waiting", "working"].includes(job?.state);

function buttons() {
  element("save").disabled = !current?.id || Boolean(asked);
  element("save-all").disabled = ready().length === 0 || Boolean(asked);
  element("save-all").hidden = files.length < 2;
  element("stop").hidden = !files.some((file) => isBusy(file) || fitsOf(file).length);
  const trust = current?.job?.facts?.report?.said ?? "";
  if (element("trust").textContent !== trust) element("trust").textContent = trust;
}

async function save(chosen) {
  asked = chosen;
  const report = element("report").checked;
  buttons();
  try {
    const { jobs } = await post(ofPage("/jobs"), { files: chosen.map(({ id }) => id), report, ...savedWay() });
    jobs.forEach((job, index) => (chosen[index].job = job));
    tell(say("save.begun", { count: chosen.length }));
  } catch (error) {
    asked = null;
    if (!isLost(error)) complain(error.message);
  }
  poll();
}

/** Everything that was waited for is done, or has failed: the browser gets it. */
async function fetchResults() {
  const done = asked.filter(({ job }) => job?.state === "done");
  const all = asked.length;
  asked = null;
  buttons();
  tell(say("save.ended", { done: done.length, count: all }));
  if (done.length === 0) return;
  if (all === 1 && !done[0].job.report) return download(`results/${page}/${done[0].job.id}`);
  try {
    const { archive } = await post(ofPage("/archives"), { jobs: done.map(({ job }) => job.id) });
    download(`archives/${page}/${archive}`);
  } catch (error) {
    if (!isLost(error)) complain(error.message);
  }
}

async function stop() {
  asked = null;
  for (const { job } of files.filter(isBusy)) await askJSON(ofPage(`/jobs/${job.id}`), { method: "DELETE" });
  for (const { id } of files.flatMap(fitsOf)) await askJSON(ofPage(`/fittings/${id}`), { method: "DELETE" });
  poll();
}

// -- beginning ------------------------------------------------------------------------------------

function listen() {
  for (const input of document.querySelectorAll(".picker")) {
    input.addEventListener("change", () => {
      add(chosen(input));
      input.value = "";
    });
  }
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    add(dropped(event.dataTransfer));
  });
  document.addEventListener("paste", (event) => {
    const pasted = chosen(event.clipboardData);
    if (pasted.length) add(pasted);
  });
  element("single").addEventListener("change", (event) => {
    for (const file of files) {
      for (const [key, { state }] of Object.entries(file.fits)) if (["failed", "cancelled"].includes(state)) delete file.fits[key];
    }
    setWay({ single: event.target.checked });
  });
  told = new Noise((noise) => setWay({ noise }), tell);
  element("strength").addEventListener("input", (event) => setWay({ strength: Number(event.target.value) }));
  element("model").addEventListener("change", (event) => {
    const model = event.target.value;
    setWay({ model, quality: model && way.quality === "fast" ? "balanced" : way.quality });
  });
  element("in").onclick = () => view.zoomBy(1);
  element("out").onclick = () => view.zoomBy(-1);
  element("full").onclick = () => view.zoomTo(1);
  element("fit").onclick = () => view.fit();
  element("save").onclick = () => save([current]);
  element("save-all").onclick = () => save(ready());
  element("stop").onclick = stop;
  window.addEventListener("pagehide", (event) => {
    if (page && !event.persisted) ask(ofPage(), { method: "DELETE", keepalive: true }).catch(() => {});
  });
}

function speak() {
  view.speak();
  models();
  modes();
  setWay({});
  axes();
  list();
}

async function start() {
  view = new View(element("stage"));
  view.onzoom = (scale) => (element("zoom").textContent = `${Math.round(100 * scale)} %`);
  try {
    await begin(speak);
    about = await askJSON("api/about");
    await open();
  } catch (error) {
    if (!isLost(error)) complain(error.message);
    if (!about) return;
  }
  if (about.runs) {
    element("to-runs").href = `runs#${TOKEN}`;
    element("to-runs").hidden = false;
  }
  listen();
  speak();
  poll();
  document.body.dataset.ready = "true";
}

start();
