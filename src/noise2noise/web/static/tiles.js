// The tiles of a file on the page: what was fetched, what is being fetched, and, until that is there,
// what comes near it.

import { ask } from "./api.js";

const MOST_KEPT = 500;
const AT_ONCE = { before: 4, after: 2, residual: 2 };
const QUIET_MS = 80; // while a slider moves nothing is computed: strengths are mixed meanwhile

export class Tiles {
  /** @param address of the file; @param facts what the program said of it. */
  constructor(address, facts) {
    this.address = address;
    this.facts = facts;
    this.changed = () => {};
    this.failed = () => {};
    this.plane = 0;
    this.sample = 0;
    this.way = { model: "", quality: "balanced", strength: 1 };
    this.kept = new Map();
    this.latest = new Map();
    this.strengths = new Map();
    this.running = new Map();
    this.refused = new Set();
    this.list = [];
  }

  setWay(way) {
    this.way = { ...way };
    this.refused.clear();
    clearTimeout(this.moving);
    this.moving = setTimeout(() => {
      this.moving = null;
      this.changed();
    }, QUIET_MS);
    this.changed();
  }

  /** Ask again for what was refused. */
  again() {
    this.refused.clear();
    this.changed();
  }

  setPlane(plane, sample) {
    this.plane = plane;
    this.sample = sample;
    this.changed();
  }

  close() {
    for (const { abort } of this.running.values()) abort.abort();
    for (const image of this.kept.values()) image.close();
    this.kept.clear();
    this.list = [];
    this.changed = () => {};
  }

  place(level, x, y) {
    return `${this.plane}/${this.sample}/${level}/${x}/${y}`;
  }

  key(kind, level, x, y, strength = this.way.strength) {
    const place = `${kind}/${this.place(level, x, y)}`;
    return kind === "before" ? place : `${place}/${this.way.model}/${this.way.quality}/${strength}`;
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
    const known = [...(this.strengths.get(this.key("after", level, x, y, "")) ?? [])]
      .map((strength) => ({ strength, image: this.image(this.key("after", level, x, y, strength)) }))
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

  /** Fetch these and no others; those that are on their way and no longer wanted are given up. */
  want(tiles) {
    this.list = tiles
      .map((tile) => ({ ...tile, key: this.key(tile.kind, tile.level, tile.x, tile.y) }))
      .filter(({ key }) => !this.kept.has(key) && !this.refused.has(key));
    const wanted = new Set(this.list.map(({ key }) => key));
    for (const [key, { abort }] of this.running) if (!wanted.has(key)) abort.abort();
    this.next();
  }

  next() {
    for (const tile of this.list) {
      if (this.running.has(tile.key) || (this.moving && tile.kind !== "before")) continue;
      const same = [...this.running.values()].filter(({ kind }) => kind === tile.kind).length;
      if (same < AT_ONCE[tile.kind]) this.fetch(tile);
    }
  }

  async fetch({ kind, level, x, y, key }) {
    const abort = new AbortController();
    this.running.set(key, { kind, abort });
    const asked = new URLSearchParams({ kind, level, x, y, plane: this.plane, sample: this.sample, ...this.way });
    const strength = this.way.strength;
    const strengths = this.key("after", level, x, y, "");
    const place = `${kind}/${this.place(level, x, y)}`;
    try {
      const answer = await ask(`${this.address}/tile?${asked}`, { signal: abort.signal });
      const image = await createImageBitmap(await answer.blob());
      this.keep(key, image);
      this.latest.set(place, key);
      if (kind === "after") {
        if (!this.strengths.has(strengths)) this.strengths.set(strengths, new Set());
        this.strengths.get(strengths).add(strength);
      }
    } catch (error) {
      if (error.name !== "AbortError") {
        this.refused.add(key);
        this.failed(error);
      }
    } finally {
      this.running.delete(key);
      this.list = this.list.filter((tile) => tile.key !== key);
      this.changed();
      this.next();
    }
  }

  keep(key, image) {
    this.kept.set(key, image);
    while (this.kept.size > MOST_KEPT) {
      const [oldest, gone] = this.kept.entries().next().value;
      this.kept.delete(oldest);
      gone.close();
    }
  }
}
