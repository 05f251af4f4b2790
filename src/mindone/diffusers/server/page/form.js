// Converts between the form's inputs, the fields of a request, and the stored form.

import * as loras from "./loras.js";
import { $, say } from "./messages.js";
import { showModel, showProfile, takesNegativePrompts } from "./models.js";
import { showSize } from "./sizes.js";

const PREVIEWS = 12;
const SENT = ["prompt", "negative_prompt", "model", "profile", "scheduler", "steps", "guidance_scale", "n", "seed"];
const NUMBERS = ["steps", "guidance_scale", "n", "seed"];
const OTHERS = ["width", "height", "beside", "upscale", "upscale_with", "upscale_strength", "strength", "brush",
  "controlnet", "control_kind", "control_scale"];
const OF_PICTURE = ["negative_prompt", "profile", "scheduler", "steps", "guidance_scale", "width", "height", "upscale"];
const CHECKS = ["prompt_weights", "typing"];

// All current values of the form, by the inputs' names, without pictures.
export function values() {
  const all = Object.fromEntries([...SENT, ...OTHERS].map((name) => [name, $(name).value]));
  for (const name of CHECKS) all[name] = $(name).checked;
  return { ...all, loras: loras.chosen() };
}

// Puts values into the form; missing values leave inputs unchanged, and the form skips choices that it does not offer.
export function setValues(all) {
  const order = ["model", "profile", ...SENT, ...OTHERS]; // a model brings its profiles, and a profile its steps
  for (const name of order) {
    const input = $(name);
    if (all[name] === undefined || all[name] === null) continue;
    const value = String(all[name]);
    if (input.options && ![...input.options].some((option) => option.value === value)) continue;
    input.value = value;
    if (name === "model") showModel();
  }
  for (const name of CHECKS) if (all[name] !== undefined) $(name).checked = all[name];
  if (all.loras) loras.choose(all.loras);
  showProfile();
  showSize();
}

// Puts a picture's settings into the form; missing ones return to the model's defaults.
export function useSettings(all) {
  const empty = Object.fromEntries(OF_PICTURE.map((name) => [name, ""]));
  setValues({ ...empty, loras: [], n: 1, ...all });
  $("form").dispatchEvent(new Event("input"));
  $("prompt").focus();
}

// The fields of a request for the form's values, or for other ones. With a profile other than the form's, they omit
// the form's steps and sampler.
export function fieldsOf(all, profile = all.profile) {
  const fields = { stream: true, progress: true, partial_images: PREVIEWS, size: "auto", prompt_weights: all.prompt_weights };
  for (const name of SENT) {
    const value = String(all[name]).trim();
    if (value === "" || (name === "seed" && value === "-1")) continue;
    if (name === "negative_prompt" && !takesNegativePrompts(all.model)) continue;
    fields[name] = NUMBERS.includes(name) ? Number(value) : value;
  }
  if (profile !== all.profile) {
    for (const name of ["scheduler", "steps", "profile"]) delete fields[name];
    if (profile) fields.profile = profile;
  }
  fields.prompt = loras.inPrompt(fields.prompt ?? "", all.loras);
  if (all.width || all.height) fields.size = `${all.width || all.height}x${all.height || all.width}`;
  return fields;
}

// The fields of one request, or with a second profile those of two that differ only in it; they share a seed.
export function compared(all) {
  if ($("speeds").hidden || $("beside").selectedIndex < 1) return [fieldsOf(all)];
  const seed = fieldsOf(all).seed ?? randomSeed();
  return [all.profile, all.beside].map((profile) => ({ ...fieldsOf(all, profile), seed }));
}

export function randomSeed() {
  return Math.floor(Math.random() * 2 ** 32);
}

// ---- values that survive a reload ----

const KEPT = "mindone-diffusers: form";
let isRestored = false;

export function remember() {
  if (!isRestored) return; // else it would lose choices that the server has not offered yet
  try {
    localStorage.setItem(KEPT, JSON.stringify(values()));
  } catch {
    // the browser stores nothing
  }
}

// Restores the form: first the typed values, and the choices once the server has listed them.
export function restore(isOffered) {
  if (isRestored) return;
  isRestored = isOffered;
  let all = null;
  try {
    all = JSON.parse(localStorage.getItem(KEPT));
  } catch {
    // not written by this page
  }
  if (!all) return;
  const isChosen = (name) => Boolean($(name)?.options) || name === "loras";
  setValues(Object.fromEntries(Object.entries(all).filter(([name]) => isChosen(name) === isOffered)));
}

// ---- the settings in a file ----

// Puts the parameters of a picture (`png-info`) into the form, and lists those that it has no field for.
export function useParameters({ extra = {}, ...all }) {
  const [prompt, found] = loras.outOf(all.prompt);
  const upscale = extra["Hires upscale"] ?? "";
  const details = extra["Hires upscaler"] === "Latent" && all.strength ? { upscale_with: "details", upscale_strength: all.strength } : {};
  useSettings({ ...all, prompt, loras: found, upscale, ...details });
  const [own, unknown] = [["model", "profile", "scheduler"], []];
  for (const name of own) if (all[name] && $(name).value !== String(all[name])) unknown.push(`${name} ${all[name]}`);
  for (const { name } of found) if (!loras.chosen().some((each) => each.name === name)) unknown.push(`LoRA ${name}`);
  if (all.true_cfg_scale > 1) unknown.push(`true CFG scale ${all.true_cfg_scale}`);
  if (all.clip_skip) unknown.push(`clip skip ${all.clip_skip + 1}`);
  say(unknown.length ? `The settings are in the form, without ${unknown.join(", ")}.` : "The settings are in the form.");
}
