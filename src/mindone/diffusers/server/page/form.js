// Between the form's inputs and the fields of a request, both ways.

import { ask } from "./api.js";

const PREVIEWS = 12;
const STEPS = 20;
const INPUTS = ["prompt", "negative_prompt", "model", "profile", "scheduler", "steps", "guidance_scale", "n", "width", "height", "seed"];
const NUMBERS = ["steps", "guidance_scale", "n", "seed"];
const FAST_ENOUGH = 1;
export const $ = (id) => document.getElementById(id);

let models = [];
const measured = new Map(); // seconds of the last image by everything but its prompt and seed

export function say(text, failed = false) {
  $("status").textContent = text;
  $("status").classList.toggle("failed", failed);
}

// The fields of a request with a profile; steps and scheduler in the form belong to the one that is chosen there.
export function fieldsWith(profile) {
  const fields = { stream: true, progress: true, partial_images: PREVIEWS, size: "auto" };
  for (const name of INPUTS) {
    const value = $(name).value.trim();
    if (value === "" || name === "width" || name === "height") continue;
    fields[name] = NUMBERS.includes(name) ? Number(value) : value;
  }
  if (profile !== $("profile").value) {
    delete fields.scheduler;
    Object.assign(fields, { steps: profile ? undefined : STEPS, profile: profile || undefined });
  }
  const [width, height] = [$("width").value, $("height").value];
  if (width || height) fields.size = `${width || height}x${height || width}`;
  return fields;
}

// A request, or with a second profile two that differ in that alone.
export function requests() {
  const chosen = [$("profile").value];
  if ($("beside").selectedIndex > 0) chosen.push($("beside").value);
  const all = chosen.map(fieldsWith);
  const seed = all[0].seed ?? Math.floor(Math.random() * 2 ** 32);
  return all.length > 1 ? all.map((fields) => ({ ...fields, seed })) : all;
}

export function fill(values) {
  for (const name of INPUTS) {
    const [input, value] = [$(name), values[name] ?? ""];
    const isOffered = !input.options || [...input.options].some((option) => option.value === value);
    if (!isOffered && name !== "profile") continue;
    input.value = name === "n" ? value || 1 : isOffered ? value : "";
    if (name === "model") listProfiles();
    if (name === "profile") takeProfile();
  }
  if (!values.steps && !$("profile").value) $("steps").value = STEPS;
  $("prompt").focus();
  say("The parameters are in the form.");
}

// ---- models, and the speeds of each ----

const modelNow = () => models.find((model) => model.id === $("model").value);
const profileNow = () => modelNow()?.profiles.find((profile) => profile.id === $("profile").value);

// Ask what there is, and how fast; what is chosen stays.
export async function listModels() {
  models = (await (await ask("/v1/models")).json()).data;
  keepChoice($("model"), models.map(({ id }) => new Option(id)));
  const controlnets = modelNow()?.controlnets ?? [];
  $("follow").hidden = !controlnets.length;
  keepChoice($("controlnet"), controlnets.map((name) => new Option(name)));
  listProfiles();
}

export function listProfiles() {
  const profiles = modelNow()?.profiles ?? [];
  const options = () => profiles.map(({ id, seconds }) => new Option(seconds === null ? id : `${id} · ${shown(seconds)}`, id));
  keepChoice($("profile"), [new Option("as below", ""), ...options()]);
  const [index, beside] = [$("beside").selectedIndex, $("beside").value];
  $("beside").replaceChildren(new Option("nothing", ""), new Option("as below", ""), ...options());
  if (index === 1) $("beside").selectedIndex = 1;
  else if (index > 1) $("beside").value = beside;
  $("speeds").hidden = !profiles.length;
  tellSpeed();
}

// A profile has steps, a scheduler and a size of its own, which the form's come before.
export function takeProfile() {
  $("steps").value = $("profile").value ? "" : STEPS;
  $("scheduler").value = "";
  tellSpeed();
}

export function tellSpeed() {
  const profile = profileNow();
  const owner = profile ? "the profile's" : "the model's";
  for (const name of ["steps", "width", "height"]) $(name).placeholder = owner;
  $("scheduler").options[0].textContent = owner;
  $("settings").textContent = profile ? `${profile.settings}, ${profile.width}×${profile.height}` : "";
  const seconds = expectedSeconds();
  $("typing").disabled = !(seconds < FAST_ENOUGH);
  $("typing_seconds").textContent = seconds === undefined ? "(once a picture took under a second)" : `(${shown(seconds)} per picture)`;
}

export function noteSeconds(fields, seconds) {
  measured.set(settingsOf(fields), seconds);
}

function expectedSeconds() {
  const fields = fieldsWith($("profile").value);
  return measured.get(settingsOf(fields)) ?? (fields.steps ? undefined : profileNow()?.seconds ?? undefined);
}

function settingsOf(fields) {
  return JSON.stringify({ ...fields, prompt: "", negative_prompt: "", seed: 0 });
}

function keepChoice(select, options) {
  const value = select.value;
  select.replaceChildren(...options);
  if (options.some((option) => option.value === value)) select.value = value;
}

function shown(seconds) {
  return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
}
