// The tiles of a file on the page: what was fetched, what is being fetched, and, until that is there,
// what comes near it. Neighbours are fetched together, since they are computed together: the network
// sees more than a tile to compute it, and of a rectangle of tiles that is less.

import { ask } from "./api.js";

const MOST_KEPT = 2000;
const AT_ONCE = { before: 4, after: 2, residual: 2 };
const MOST_SIDE = 8; // tiles, of a rectangle
const QUIET_MS = 80; // while a slider moves nothing is computed: strengths are mixed meanwhile
const IDLE_MS = 400; // after which other ways to denoise what is seen are computed, too
// What the first rectangle of a change may take, so that something is seen, and those that follow: as
// long as nobody can be served who wants others. Where that is little, so many tiles all the same.
const FIRST = { seconds: 0.2, side: 2 };
const NEXT = { seconds: 0.4, side: 3 };
const AHEAD_S = 12; // what is computed for a change that may come
const USUAL_PACE = 1.5e-6; // seconds for a pixel, until it was measured
const TURNS = 8; // passes for the best quality

export class Tiles {
  /** @param address of the file; @param facts what the program said of it. */
  constructor(address, facts) {
    this.address = address;
    this.facts = facts;
    this.changed = () => {};
    this.failed = () => {};
    this.others = () => []; // ways that may be chosen next
    this.plane = 0;
    this.sample = 0;
    this.way = { model: "", quality: "balanced", strength: 1 };
    this.kept = new Map();
    this.latest = new Map();
    this.strengths = new Map();
    this.running = new Set();
    this.refused = new Set();
    this.paces = new Map();
    this.list = [];
    this.seen = [];
    this.isNew = true;
  }

  /** @param moving whether another change follows at once, as of a slider. */
  setWay(way, moving = false) {
    this.way = { ...way };
    this.refused.clear();
    this.isNew = true;
    clearTimeout(this.moving);
    this.moving = moving && setTimeout(() => {
      this.moving = null;
      this.changed();
    }, QUIET_MS);
    this.changed();
  }

  setPlane(plane, sample) {
    this.plane = plane;
    this.sample = sample;
    this.isNew = true;
    this.changed();
  }

  close() {
    clearTimeout(this.resting);
    for (const { abort } of this.running) abort.abort();
    for (const image of this.kept.values()) image.close();
    this.kept.clear();
    this.list = [];
    this.seen = [];
    this.changed = () => {};
  }

  place(level, x, y) {
    return `${this.plane}/${this.sample}/${level}/${x}/${y}`;
  }

  key(kind, level, x, y, way = this.way) {
    const place = `${kind}/${this.place(level, x, y)}`;
    return kind === "before" ? place : `${place}/${ofModel(way)}/${way.strength}`;
  }

  image(key) {
    const found = this.kept.get(key);
    if (found) {
      this.kept.delete(key);
      this.kept.set(key, found);
    }
    return found;
  }

  /** What there is of a tile. Without itself: its strengths mixed, or what it was in another way. */
  look(kind, level, x, y) {
    const exact = this.image(this.key(kind, level, x, y));
    if (exact) return { layers: [{ image: exact, alpha: 1 }], exact: true };
    const before = this.image(this.key("before", level, x, y));
    if (kind === "before") return { layers: [], exact: false };
    if (kind === "after" && this.way.strength === 0 && before) {
      return { layers: [{ image: before, alpha: 1 }], exact: true };
    }
    const mixed = kind === "after" && before ? this.mixed(level, x, y, before) : null;
    if (mixed) return { layers: mixed, exact: false };
    const latest = this.image(this.latest.get(`${kind}/${this.place(level, x, y)}`));
    const image = latest ?? (kind === "after" ? before : null);
    return { layers: image ? [{ image, alpha: 1 }] : [], exact: false };
  }

  /** Between the two nearest strengths that are there; strength 0 is the picture before. */
  mixed(level, x, y, before) {
    const at = (strength) => this.key("after", level, x, y, { ...this.way, strength });
    const known = [...(this.strengths.get(at("")) ?? [])]
      .map((strength) => ({ strength, image: this.image(at(strength)) }))
      .filter(({ image }) => image)
      .concat({ strength: 0, image: before })
      .sort((one, other) => one.strength - other.strength);
    if (known.length < 2) return null;
    const wanted = this.way.strength;
    const below = known.filter(({ strength }) => strength <= wanted).at(-1);
    const above = known.find(({ strength }) => strength > wanted);
    if (!above) return [{ image: below.image, alpha: 1 }];
    const alpha = (wanted - below.strength) / (above.strength - below.strength);
    return [{ image: below.image, alpha: 1 }, { image: above.image, alpha }];
  }

  // -- fetching -----------------------------------------------------------------------------------

  /** Fetch what is missing of these and nothing else; what is on its way and no longer wanted is
   * given up.
   * @param tiles those that are seen, and not exactly yet: the most needed first.
   * @param around those that may be seen next.
   * @param seen all tiles that are seen of a result. */
  want(tiles, around = [], seen = []) {
    const named = (ahead) => (tile) => ({ ...tile, ahead, way: this.way, key: this.key(tile.kind, tile.level, tile.x, tile.y) });
    const first = this.missing(tiles.map(named(false)));
    this.list = first.length ? first : this.missing(around.map(named(true)));
    this.seen = seen;
    const wanted = new Set(this.list.map(({ key }) => key));
    for (const block of this.running) {
      const needed = block.tiles.some(({ key }) => wanted.has(key)) || (block.other && !first.length);
      if (!needed) block.abort.abort();
    }
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.rest(), IDLE_MS);
    this.next();
  }

  missing(tiles) {
    return tiles.filter(({ key }) => !this.kept.has(key) && !this.refused.has(key));
  }

  next() {
    const coming = new Set([...this.running].flatMap(({ tiles }) => tiles.map(({ key }) => key)));
    for (const kind of ["before", "after", "residual"]) {
      if (this.moving && kind !== "before") continue;
      let left = this.list.filter((tile) => tile.kind === kind && !coming.has(tile.key));
      while (left.length && this.count(kind) < AT_ONCE[kind]) {
        const block = this.block(left, this.isNew || left[0].ahead ? FIRST : NEXT);
        if (kind !== "before") this.isNew = false;
        this.fetch(block);
        left = left.filter((tile) => !block.tiles.includes(tile));
      }
    }
  }

  count(kind) {
    return [...this.running].filter((block) => block.kind === kind).length;
  }

  /** Nobody asks for anything: what is seen, in ways that may be chosen next, one at a time. */
  rest() {
    if (this.list.length || this.running.size || document.hidden) return;
    for (const way of this.others()) {
      const tiles = this.missing(this.seen.map((tile) => ({ ...tile, way, ahead: true, key: this.key(tile.kind, tile.level, tile.x, tile.y, way) })));
      if (!tiles.length) continue;
      const whole = tiles.reduce((sum, { level }) => sum + this.pixels(level, 1, 1, 0), 0);
      if (whole * this.pace(way) > AHEAD_S) continue;
      this.fetch({ ...this.block(tiles, FIRST), other: true });
      return;
    }
  }

  /** As many of these tiles as may be computed at once: a rectangle about the first. */
  block(tiles, { seconds, side }) {
    const { kind, level, way, ahead, x, y } = tiles[0];
    const here = new Set(tiles.filter((tile) => tile.level === level).map((tile) => `${tile.x}/${tile.y}`));
    const most = kind === "before" ? Infinity : Math.max(seconds / this.pace(way), this.pixels(0, side, side));
    let box = { left: x, right: x + 1, top: y, bottom: y + 1 };
    for (let grown = box; grown; ) {
      box = grown;
      grown = null;
      let best = 0.5; // of the tiles of a line that is added, so many are wanted at least
      for (const [side, step] of [["left", -1], ["right", 1], ["top", -1], ["bottom", 1]]) {
        const other = { ...box, [side]: box[side] + step };
        const [columns, rows] = [other.right - other.left, other.bottom - other.top];
        if (Math.max(columns, rows) > MOST_SIDE || this.pixels(level, columns, rows) > most) continue;
        const gain = (count(here, other) - count(here, box)) / (columns * rows - (box.right - box.left) * (box.bottom - box.top));
        if (gain > best || (gain === best && !grown)) [best, grown] = [gain, other];
      }
    }
    const inside = tiles.filter((tile) => tile.level === level && contains(box, tile.x, tile.y));
    return { kind, level, way, ahead, box, tiles: inside };
  }

  /** How many the network sees to compute a rectangle of tiles. */
  pixels(level, columns, rows, around = this.facts.around) {
    const side = this.facts.tile * 2 ** level;
    return (columns * side + 2 * around) * (rows * side + 2 * around);
  }

  /** Seconds for a pixel. */
  pace(way) {
    const usual = way.quality === "best" ? (this.paces.get(ofModel({ ...way, quality: "balanced" })) ?? USUAL_PACE) * TURNS : USUAL_PACE;
    return this.paces.get(ofModel(way)) ?? usual;
  }

  async fetch(block) {
    const { kind, level, box, way } = block;
    const [columns, rows] = [box.right - box.left, box.bottom - box.top];
    block.abort = new AbortController();
    this.running.add(block);
    const { plane, sample } = this;
    const asked = new URLSearchParams({ kind, level, x: box.left, y: box.top, columns, rows, plane, sample, ...way });
    if (block.ahead) asked.set("ahead", "1");
    try {
      const answer = await ask(`${this.address}/tile?${asked}`, { signal: block.abort.signal });
      this.measured(answer, block, columns, rows);
      const whole = await createImageBitmap(await answer.blob());
      if (plane === this.plane && sample === this.sample) await this.cut(whole, block);
      whole.close();
    } catch (error) {
      if (error.name !== "AbortError") {
        for (const { key } of block.tiles) this.refused.add(key);
        if (!block.other) this.failed(error);
      }
    } finally {
      this.running.delete(block);
      this.list = this.missing(this.list);
      if (block.other) this.rest();
      else this.changed();
    }
  }

  /** Keep the tiles of a rectangle that has come. */
  async cut(whole, { kind, level, box, way, other }) {
    const side = this.facts.tile;
    const places = [];
    for (let y = box.top; y < box.bottom; y += 1) for (let x = box.left; x < box.right; x += 1) places.push({ x, y });
    const inside = places
      .map(({ x, y }) => ({ x, y, left: (x - box.left) * side, top: (y - box.top) * side, key: this.key(kind, level, x, y, way), place: `${kind}/${this.place(level, x, y)}` }))
      .filter(({ left, top, key }) => left < whole.width && top < whole.height && !this.kept.has(key));
    const strengths = inside.map(({ x, y }) => this.key("after", level, x, y, { ...way, strength: "" }));
    const images = await Promise.all(inside.map(({ left, top }) =>
      createImageBitmap(whole, left, top, Math.min(side, whole.width - left), Math.min(side, whole.height - top))));
    inside.forEach(({ key, place }, index) => {
      this.keep(key, images[index]);
      if (!other) this.latest.set(place, key);
      if (kind !== "after") return;
      if (!this.strengths.has(strengths[index])) this.strengths.set(strengths[index], new Set());
      this.strengths.get(strengths[index]).add(way.strength);
    });
  }

  /** Learn from an answer how long such take; one that was kept says nothing of that. */
  measured(answer, { level, way }, columns, rows) {
    const took = /dur=([\d.]+)/.exec(answer.headers.get("server-timing") ?? "");
    if (!took) return;
    const found = Number(took[1]) / 1000 / this.pixels(level, columns, rows);
    const before = this.paces.get(ofModel(way)) ?? found;
    this.paces.set(ofModel(way), (before + found) / 2);
  }

  keep(key, image) {
    this.kept.get(key)?.close();
    this.kept.set(key, image);
    while (this.kept.size > MOST_KEPT) {
      const [oldest, gone] = this.kept.entries().next().value;
      this.kept.delete(oldest);
      gone.close();
    }
  }
}

/** What computes, apart from the strength. */
function ofModel({ model, quality, noise = "", single = "" }) {
  return `${model}/${quality}/${noise}/${single}`;
}

function contains({ left, right, top, bottom }, x, y) {
  return left <= x && x < right && top <= y && y < bottom;
}

function count(places, box) {
  let found = 0;
  for (let y = box.top; y < box.bottom; y += 1) for (let x = box.left; x < box.right; x += 1) found += places.has(`${x}/${y}`);
  return found;
}
