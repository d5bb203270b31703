// A picture before and after, under a divider: drawn on a canvas, moved and enlarged by mouse, touch
// or keys. What is drawn comes from a source (tiles.js, or the pictures of a run):
//
//   source.facts                  width, height, levels, tile
//   source.look(kind, l, x, y)    what there is of a tile: {layers: [{image, alpha}], exact}
//   source.want(tiles, around, seen)   which tiles are to be had, those that are needed most first;
//                                 which may be soon; and all that are seen of a result
//   source.changed                is set by the view: called when there is more to draw

import { say } from "./words.js";

const MOST = 32;
const STEP = 1.25;
const KEY_PIXELS = 60;
const MODES = ["divider", "before", "after", "residual"];

export class View {
  /** @param stage an empty element that is filled. */
  constructor(stage) {
    this.stage = stage;
    this.source = null;
    this.mode = "divider";
    this.split = 0.5;
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.onprogress = () => {};
    this.onzoom = () => {};
    this.build();
    this.listen();
    new ResizeObserver(() => this.resize()).observe(stage);
  }

  build() {
    this.canvas = document.createElement("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "group");
    this.divider = document.createElement("div");
    this.divider.className = "divider";
    this.divider.tabIndex = 0;
    this.divider.setAttribute("role", "slider");
    this.divider.setAttribute("aria-orientation", "horizontal");
    this.divider.setAttribute("aria-valuemin", "0");
    this.divider.setAttribute("aria-valuemax", "100");
    this.divider.append(document.createElement("span"));
    this.tags = ["before", "after"].map((name) => {
      const tag = document.createElement("span");
      tag.className = `tag ${name}`;
      tag.setAttribute("aria-hidden", "true");
      return tag;
    });
    this.working = document.createElement("progress");
    this.working.className = "working";
    this.stage.replaceChildren(this.canvas, ...this.tags, this.divider, this.working);
    this.speak();
  }

  /** Say everything again, in the language that was chosen. */
  speak() {
    this.canvas.setAttribute("aria-label", say("view.label"));
    this.divider.setAttribute("aria-label", say("view.divider"));
    this.working.setAttribute("aria-label", say("view.working"));
    this.tags[0].textContent = say("shown.before");
    this.tags[1].textContent = say(this.mode === "residual" ? "shown.residual" : "shown.after");
  }

  /** Show another source; where it has the same size as the one before, nothing moves. */
  show(source) {
    const before = this.source?.facts;
    if (this.source) this.source.changed = () => {};
    this.source = source;
    if (!source) return this.draw();
    source.changed = () => this.draw();
    const { width, height } = source.facts;
    if (before?.width !== width || before?.height !== height) this.begin();
    this.draw();
  }

  /** The middle at 100 %, or all of what is smaller than the stage. */
  begin() {
    const { width, height } = this.source.facts;
    this.x = width / 2;
    this.y = height / 2;
    this.scale = Math.max(1, Math.min(4, Math.floor(this.fitting())));
    this.onzoom(this.scale);
  }

  fitting() {
    const { width, height } = this.source.facts;
    return Math.min(this.canvas.width / width, this.canvas.height / height) || 1;
  }

  fit() {
    if (!this.source) return;
    const { width, height } = this.source.facts;
    this.x = width / 2;
    this.y = height / 2;
    this.zoomTo(this.fitting());
  }

  /** Enlarge so that the picture stays where it is under a point of the canvas. */
  zoomTo(scale, px = this.canvas.width / 2, py = this.canvas.height / 2) {
    if (!this.source) return;
    const least = Math.min(1, this.fitting());
    const wanted = Math.min(MOST, Math.max(least, scale));
    const dx = px - this.canvas.width / 2;
    const dy = py - this.canvas.height / 2;
    this.x += dx / this.scale - dx / wanted;
    this.y += dy / this.scale - dy / wanted;
    this.scale = wanted;
    this.keepInside();
    this.onzoom(this.scale);
    this.draw();
  }

  zoomBy(steps) {
    const next = this.scale * STEP ** steps;
    const crosses = (this.scale < 1) !== (next < 1) && this.scale !== 1;
    this.zoomTo(crosses ? 1 : next);
  }

  pan(dx, dy) {
    this.x -= dx / this.scale;
    this.y -= dy / this.scale;
    this.keepInside();
    this.draw();
  }

  keepInside() {
    const { width, height } = this.source.facts;
    this.x = within(this.x, width, this.canvas.width / this.scale);
    this.y = within(this.y, height, this.canvas.height / this.scale);
  }

  setMode(mode) {
    this.mode = MODES.includes(mode) ? mode : "divider";
    this.divider.hidden = mode !== "divider";
    this.speak();
    this.draw();
  }

  setSplit(split) {
    this.split = Math.min(1, Math.max(0, split));
    this.draw();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const { width, height } = this.stage.getBoundingClientRect();
    const first = !this.sized;
    this.canvas.width = Math.max(1, Math.round(width * ratio));
    this.canvas.height = Math.max(1, Math.round(height * ratio));
    this.sized = width > 0;
    if (first && this.sized && this.source) this.begin();
    this.draw();
  }

  // -- drawing ------------------------------------------------------------------------------------

  draw() {
    this.due ??= requestAnimationFrame(() => {
      this.due = null;
      this.paint();
    });
  }

  paint() {
    const context = this.canvas.getContext("2d");
    const { width, height } = this.canvas;
    context.globalAlpha = 1;
    context.clearRect(0, 0, width, height);
    this.place();
    if (!this.source || !this.sized) return;
    const cut = this.mode === "divider" ? Math.round(this.split * width) : this.mode === "before" ? width : 0;
    const after = this.mode === "residual" ? "residual" : "after";
    const tiles = this.visible();
    const missing = [];
    let done = 0;
    let count = 0;
    for (const [kind, from, to] of [["before", 0, cut], [after, cut, width]]) {
      if (to <= from) continue;
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, height);
      context.clip();
      for (const tile of tiles) {
        if (tile.right <= from || tile.left >= to) continue;
        const there = this.paintTile(context, kind, tile);
        count += 1;
        if (there) done += 1;
        else missing.push({ kind, ...tile });
      }
      context.restore();
    }
    this.progress(done, count);
    const results = tiles.filter(({ right }) => right > cut).map((tile) => ({ kind: after, ...tile }));
    // Of what is right of the divider, too, the picture before: strengths are mixed with it.
    const under = results.map((tile) => ({ ...tile, kind: "before" }));
    const needed = [...this.sorted(missing, cut), ...under];
    this.source.want(needed, this.around(after, cut), this.mode === "before" ? [] : results);
  }

  paintTile(context, kind, tile) {
    const { layers, exact } = this.source.look(kind, tile.level, tile.x, tile.y);
    context.imageSmoothingEnabled = this.scale < 1;
    context.imageSmoothingQuality = "high";
    for (const { image, alpha } of layers) {
      context.globalAlpha = alpha;
      context.drawImage(image, tile.left, tile.top, tile.right - tile.left, tile.bottom - tile.top);
    }
    return exact;
  }

  /** The tiles that are seen, with their places on the canvas. */
  visible(margin = 0) {
    const { width, height, levels, tile } = this.source.facts;
    const level = Math.min(levels - 1, Math.max(0, Math.floor(Math.log2(1 / this.scale) + 0.01)));
    const side = tile * 2 ** level;
    const left = this.canvas.width / 2 - this.x * this.scale;
    const top = this.canvas.height / 2 - this.y * this.scale;
    const range = (offset, size, extent) => {
      const first = Math.max(0, Math.floor(-offset / this.scale / side) - margin);
      const last = Math.min(Math.ceil(extent / side), Math.ceil((size - offset) / this.scale / side) + margin);
      return Array.from({ length: Math.max(0, last - first) }, (_, index) => first + index);
    };
    const found = [];
    for (const y of range(top, this.canvas.height, height)) {
      for (const x of range(left, this.canvas.width, width)) {
        const place = (offset, count, extent) => Math.round(offset + Math.min(count * side, extent) * this.scale);
        found.push({
          level, x, y,
          left: place(left, x, width),
          right: place(left, x + 1, width),
          top: place(top, y, height),
          bottom: place(top, y + 1, height),
        });
      }
    }
    return found;
  }

  /** The nearest to the divider first. */
  sorted(tiles, cut) {
    const focus = this.mode === "divider" ? Math.min(cut + 64, this.canvas.width) : this.canvas.width / 2;
    const middle = this.canvas.height / 2;
    const far = ({ left, right, top, bottom }) =>
      Math.hypot(clampedDistance(focus, left, right), clampedDistance(middle, top, bottom));
    return tiles.sort((one, other) => far(one) - far(other));
  }

  /** What comes into view when the picture is moved a little; at 100 % and above, where it is a
   * little work. */
  around(after, cut) {
    const tiles = this.sorted(this.visible(1).filter(({ level }) => level === 0), cut);
    const kinds = this.mode === "before" ? ["before"] : ["before", after];
    return tiles.flatMap((tile) => kinds.map((kind) => ({ kind, ...tile })));
  }

  progress(done, count) {
    this.working.hidden = done >= count;
    this.working.max = Math.max(1, count);
    this.working.value = done;
    this.stage.dataset.exact = String(count > 0 && done >= count);
    this.onprogress(done, count);
  }

  place() {
    const percent = Math.round(this.split * 100);
    this.divider.style.left = `${this.split * 100}%`;
    this.divider.setAttribute("aria-valuenow", String(percent));
    this.divider.setAttribute("aria-valuetext", say("view.share", { percent }));
    this.divider.hidden = this.mode !== "divider" || !this.source;
    this.tags[0].hidden = !this.source || !["divider", "before"].includes(this.mode);
    this.tags[1].hidden = !this.source || this.mode === "before";
  }

  // -- hands --------------------------------------------------------------------------------------

  listen() {
    const pointers = new Map();
    let held = null;
    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      const ratio = this.canvas.width / box.width;
      return { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
    };
    this.stage.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.source) return;
      held = this.divider.contains(event.target) ? "divider" : "picture";
      if (held === "divider") this.divider.focus();
      this.stage.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, at(event));
    });
    this.stage.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const now = at(event);
      if (held === "divider") this.setSplit(now.x / this.canvas.width);
      else if (pointers.size === 2) this.pinch(pointers, event.pointerId, now);
      else this.pan(now.x - before.x, now.y - before.y);
      pointers.set(event.pointerId, now);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      this.stage.addEventListener(name, (event) => pointers.delete(event.pointerId));
    }
    this.stage.addEventListener("wheel", (event) => {
      if (!this.source) return;
      event.preventDefault();
      const { x, y } = at(event);
      this.zoomTo(this.scale * Math.exp(-Math.max(-200, Math.min(200, event.deltaY)) / 400), x, y);
    }, { passive: false });
    this.stage.addEventListener("dblclick", (event) => {
      const { x, y } = at(event);
      this.zoomTo(this.scale * 2, x, y);
    });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.divider.addEventListener("keydown", (event) => this.dividerKey(event));
  }

  pinch(pointers, moved, now) {
    const [[, other]] = [...pointers].filter(([id]) => id !== moved);
    const before = pointers.get(moved);
    const grown = Math.hypot(now.x - other.x, now.y - other.y) / Math.max(1, Math.hypot(before.x - other.x, before.y - other.y));
    this.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    this.zoomTo(this.scale * grown, (now.x + other.x) / 2, (now.y + other.y) / 2);
  }

  key(event) {
    if (!this.source || event.ctrlKey || event.metaKey || event.altKey) return;
    const far = event.shiftKey ? 4 * KEY_PIXELS : KEY_PIXELS;
    const done = {
      ArrowLeft: () => this.pan(far, 0),
      ArrowRight: () => this.pan(-far, 0),
      ArrowUp: () => this.pan(0, far),
      ArrowDown: () => this.pan(0, -far),
      "+": () => this.zoomBy(1),
      "=": () => this.zoomBy(1),
      "-": () => this.zoomBy(-1),
      0: () => this.fit(),
      1: () => this.zoomTo(1),
    }[event.key];
    if (!done) return;
    event.preventDefault();
    done();
  }

  dividerKey(event) {
    const far = event.shiftKey ? 0.1 : 0.02;
    const wanted = {
      ArrowLeft: this.split - far,
      ArrowDown: this.split - far,
      ArrowRight: this.split + far,
      ArrowUp: this.split + far,
      PageUp: this.split + 0.1,
      PageDown: this.split - 0.1,
      Home: 0,
      End: 1,
    }[event.key];
    if (wanted === undefined) return;
    event.preventDefault();
    this.setSplit(wanted);
  }
}

function within(place, extent, seen) {
  if (seen >= extent) return extent / 2;
  return Math.min(extent - seen / 2, Math.max(seen / 2, place));
}

function clampedDistance(place, from, to) {
  return Math.max(0, from - place, place - to) + Math.abs((from + to) / 2 - place) / 1e4;
}
