// The seconds of a picture: measured here, or from the server.

import { fieldsOf, values } from "./form.js";
import { $ } from "./messages.js";
import { profileNow, shown } from "./models.js";
import { withPictures } from "./pictures.js";

const FAST_ENOUGH = 1; // seconds, for generating while typing
const REMEMBERED = 50;
const KEPT = "mindone-diffusers: seconds";

const measured = restored(); // seconds of the last picture, by all fields but texts and seed

export function noteSeconds(fields, seconds) {
  const key = keyOf(fields);
  measured.delete(key); // moves it to the end
  measured.set(key, seconds);
  while (measured.size > REMEMBERED) measured.delete(measured.keys().next().value);
  try {
    localStorage.setItem(KEPT, JSON.stringify([...measured]));
  } catch {
    // the browser stores nothing
  }
}

export function showExpected() {
  const all = values();
  const { fields } = withPictures(fieldsOf(all), all);
  const predicted = fields.steps || fields.upscale || fields.strength ? undefined : profileNow()?.seconds ?? undefined;
  const seconds = measured.get(keyOf(fields)) ?? predicted;
  $("expected").textContent = seconds === undefined ? "" : `about ${shown(seconds)}`;
  $("typing").disabled = !(seconds < FAST_ENOUGH);
  $("typing_seconds").textContent = $("typing").disabled ? "(needs under a second per picture)" : "";
}

function keyOf(fields) {
  return JSON.stringify({ ...fields, prompt: "", negative_prompt: "", seed: 0 });
}

function restored() {
  try {
    return new Map(JSON.parse(localStorage.getItem(KEPT) ?? "[]"));
  } catch {
    return new Map();
  }
}
