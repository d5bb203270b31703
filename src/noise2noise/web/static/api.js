// What the page asks the program for. Everything goes to where the page came from.

import { has, say } from "./words.js";

const KEPT = "noise2noise-token";

/** The token that stands behind the # of the printed address; it is kept for this tab alone. */
function token() {
  const given = decodeURIComponent(location.hash.slice(1));
  if (given) {
    sessionStorage.setItem(KEPT, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(KEPT) ?? "";
}

export const TOKEN = token();

/** An answer that is a refusal; `status` is 0 where nobody answered. */
export class Refusal extends Error {
  constructor(status, { error, reason, things }) {
    super(reason && has(`refused.${reason}`) ? say(`refused.${reason}`, things) : error);
    this.status = status;
  }
}

/** The answer to a request.
 * @throws {Refusal} it was refused, or nobody answered. */
export async function ask(path, options = {}) {
  const headers = { "X-Noise2noise-Token": TOKEN, ...options.headers };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, {});
  }
  if (answer.ok) return answer;
  let refused = { error: answer.statusText };
  try {
    refused = await answer.json();
  } catch {
    // Not one of our own sentences.
  }
  throw new Refusal(answer.status, refused);
}

export async function askJSON(path, options = {}) {
  const answer = await ask(path, options);
  return answer.status === 204 ? null : answer.json();
}

export function post(path, value) {
  const headers = { "Content-Type": "application/json" };
  return askJSON(path, { method: "POST", headers, body: JSON.stringify(value ?? {}) });
}

/** Have the browser keep what is at an address. */
export function download(path) {
  const link = document.createElement("a");
  link.href = path;
  link.download = "";
  document.body.append(link);
  link.click();
  link.remove();
}
