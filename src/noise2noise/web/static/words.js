// What the page says, in the reader's language: words/LANGUAGE.json, a sentence to a name.

export const LANGUAGES = { en: "English", de: "Deutsch", fr: "Français", zh: "中文" };

const KEPT_LANGUAGE = "noise2noise-language";
const KEPT_THEME = "noise2noise-theme";

let words = {};
let english = {};

/** The sentence of a name, with {things} put in. */
export function say(name, things = {}) {
  const sentence = words[name] ?? english[name] ?? name;
  return sentence.replace(/\{(\w+)\}/g, (whole, thing) => things[thing] ?? whole);
}

/** Whether there is a sentence of this name. */
export function has(name) {
  return name in words || name in english;
}

/** A number as the language writes it. */
export function number(value, digits = 2) {
  return new Intl.NumberFormat(document.documentElement.lang, { maximumSignificantDigits: digits }).format(value);
}

function remembered(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Then it is asked again next time.
  }
}

async function load(language) {
  const address = new URL(`words/${language}.json`, import.meta.url);
  words = await (await fetch(address)).json();
  document.documentElement.lang = language;
  fill(document);
}

/** Put sentences where `data-say` and `data-label` name them. */
export function fill(root) {
  for (const element of root.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", say(element.dataset.label));
    if (element.tagName === "BUTTON") element.title = say(element.dataset.label);
  }
}

/** Choose the language and the theme that were chosen before, and let others be chosen.
 * @param changed is called after each change of the language. */
export async function begin(changed) {
  const address = new URL("words/en.json", import.meta.url);
  english = await (await fetch(address)).json();
  const language = document.getElementById("language");
  for (const [name, title] of Object.entries(LANGUAGES)) language.add(new Option(title, name));
  const wished = [remembered(KEPT_LANGUAGE), ...navigator.languages.map((each) => each.slice(0, 2)), "en"];
  language.value = wished.find((each) => each in LANGUAGES);
  await load(language.value);
  themes();
  language.addEventListener("change", async () => {
    remember(KEPT_LANGUAGE, language.value);
    await load(language.value);
    themes();
    changed();
  });
}

function themes() {
  const select = document.getElementById("theme");
  select.replaceChildren(...["auto", "light", "dark"].map((name) => new Option(say(`theme.${name}`), name)));
  select.value = remembered(KEPT_THEME) ?? "auto";
  document.documentElement.dataset.theme = select.value;
  select.onchange = () => {
    remember(KEPT_THEME, select.value);
    document.documentElement.dataset.theme = select.value;
    window.dispatchEvent(new Event("theme"));
  };
}
