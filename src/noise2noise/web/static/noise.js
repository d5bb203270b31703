// The field for the noise: a standard deviation, or a profile that `noise2noise inspect --save` wrote.

import { number, say } from "./words.js";

const MOST = 2 ** 14; // letters of a profile

export class Noise {
  /** @param changed is given what the program is to be told: "", a number, or a profile.
   * @param tell says something to who can't see the page. */
  constructor(changed, tell) {
    this.deviation = document.getElementById("deviation");
    this.profile = document.getElementById("profile");
    this.words = document.getElementById("told-about");
    this.changed = changed;
    this.tell = tell;
    this.name = "";
    this.wrong = "";
    this.deviation.addEventListener("change", () => this.typed());
    this.profile.addEventListener("change", () => this.load(this.profile.files[0]));
  }

  /** @param measured of the picture, as the program says it; @param isTold whether the model is told
   * the noise at all. */
  show(measured, isTold) {
    this.deviation.disabled = !isTold;
    this.profile.disabled = !isTold;
    this.deviation.placeholder = measured?.deviation ? number(measured.deviation, 3) : "";
    this.words.textContent = this.wrong || say(isTold ? (this.name ? "told.file" : "told.about") : "told.not", { name: this.name });
    this.words.classList.toggle("bad", Boolean(this.wrong));
  }

  typed() {
    const { value, validity } = this.deviation;
    this.name = "";
    this.wrong = validity.valid ? "" : say("told.wrong");
    this.changed(validity.valid ? value : "");
  }

  async load(file) {
    this.profile.value = "";
    if (!file) return;
    let text = "";
    try {
      if (file.size > 4 * MOST) throw new Error(file.name);
      text = JSON.stringify(JSON.parse(await file.text()));
      if (text.length > MOST || !text.startsWith("{")) throw new Error(file.name);
      this.wrong = "";
      this.name = file.name;
    } catch {
      text = "";
      this.name = "";
      this.wrong = say("refused.profile");
    }
    this.deviation.value = "";
    this.changed(text);
    this.tell(this.words.textContent);
  }
}
