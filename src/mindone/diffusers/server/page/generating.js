// One generation at a time: from the form to the stage, step by step, and into the gallery.

import { events, pictureOf } from "./api.js";
import { noteSeconds, showExpected } from "./expected.js";
import { compared, fieldsOf, values } from "./form.js";
import * as gallery from "./gallery.js";
import { $, fail, isRight, say } from "./messages.js";
import { listModels } from "./models.js";
import { enlarged, send, withPictures } from "./pictures.js";
import * as stage from "./stage.js";

let current = null;
let next = null;

export function stop() {
  next = null;
  current?.abort();
}

// Generates with the form's values; with `keep` the pictures go into the gallery.
export function generate({ keep = true } = {}) {
  if (current || !isRight($("form"))) return;
  const all = values();
  run(compared(all).map((fields) => withPictures(fields, all)), all, keep);
}

// Generates a picture again at twice the size: the same settings and seed give the same picture.
export function enlarge(picture) {
  if (current) return;
  const all = { ...picture.values, seed: picture.seed, upscale: "2" };
  run([{ fields: enlarged(fieldsOf(all), all), image: null, followed: null }], all, true);
}

// Cancels the current generation and starts again with the form's new values.
export function generateAgain() {
  if (!current) {
    generate({ keep: false });
    return;
  }
  next = { keep: false };
  current.abort();
}

// Runs requests one after the other; `all` has the form's values.
async function run(requests, all, keep) {
  current = new AbortController();
  const began = performance.now();
  turn("generate", "stop");
  stage.begin();
  stage.prepare(requests.length);
  say("Generating…");
  let outcome = "done";
  try {
    const warnings = new Set();
    for (const [i, request] of requests.entries()) await runOne(request, i, all, keep, requests.length > 1, warnings);
    say([`Done in ${((performance.now() - began) / 1000).toFixed(1)} s.`, ...warnings].join(" "));
    listModels().then(showExpected, () => {}); // the seconds may have changed
  } catch (error) {
    outcome = error.name === "AbortError" ? "stopped" : "failed";
    if (outcome === "stopped") say("Stopped.");
    else fail(error);
  }
  current = null;
  turn("stop", "generate");
  stage.end(outcome);
  const again = next;
  next = null;
  if (again) generate(again);
}

// Runs one request in one of the panes and adds the server's warnings to `warnings`.
async function runOne(request, pane, all, keep, isNamed, warnings) {
  const { fields } = request;
  let began = performance.now();
  let isCold = false; // whether a model is loaded or compiled first, which the next picture needs no time for
  const name = fields.profile ?? "settings below";
  const labelled = (text) => (isNamed ? `${name}: ${text}` : text);
  let steps = 0;
  stage.caption(pane, isNamed ? name : "");
  for await (const event of events(await send(request, current.signal))) {
    const kind = event.type.split(".")[1];
    if (kind === "waiting") {
      began = performance.now();
      isCold ||= ["loading", "compiling"].includes(event.stage);
      stage.showStep(null, labelled(waitingFor(event)));
    } else if (kind === "progress") {
      steps = Math.max(steps, event.steps); // the second pass of an upscale has fewer
      stage.showStep(event.step / event.steps, labelled(`step ${event.step} of ${event.steps}, ${event.seconds_left.toFixed(1)} s left`));
    } else if (kind === "partial_image") {
      stage.showFile(pane, pictureOf(event), `preview of ${all.prompt}`, event.partial_image_index);
    } else {
      event.warnings?.forEach((warning) => warnings.add(warning));
      const seconds = (performance.now() - began) / 1000;
      const file = pictureOf(event);
      stage.showFile(pane, file, all.prompt, "last");
      if (!isCold) noteSeconds(fields, seconds);
      if (isNamed) stage.caption(pane, `${name} · ${seconds.toFixed(1)} s`);
      const hasSource = Boolean(request.image || request.followed);
      const about = { seed: event.seed, size: event.size, steps: fields.steps ?? steps, seconds: seconds / fields.n, hasSource };
      if (keep) await gallery.add({ file, values: settings(all, fields, event.size), ...about }, pane);
    }
  }
}

// The form's values for one more picture of this kind.
function settings(all, fields, size) {
  const { beside, typing, ...own } = all;
  const [width, height] = size.split("x").map((side) => Math.round(Number(side) / (fields.upscale ?? 1)));
  const isOwn = own.profile === (fields.profile ?? "");
  return { ...own, ...(isOwn ? {} : { steps: "", scheduler: "" }), profile: fields.profile ?? "", n: 1, width, height };
}

function waitingFor({ stage: what, place }) {
  if (what === "loading") return "loading the model…";
  if (what === "compiling") return "compiling the model for pictures of this size, once…";
  if (what === "drawing") return "generating the first step…";
  return place > 1 ? `waiting: number ${place} in the queue…` : "waiting: next in the queue…";
}

// Swaps two buttons; the new one gets the focus if the old one had it, or an example, which disappears.
function turn(from, to) {
  const isFocused = document.activeElement === $(from) || $("empty").contains(document.activeElement);
  $("busy").hidden = to !== "stop";
  $(to).disabled = false;
  if (isFocused) $(to).focus({ preventScroll: true });
  $(from).disabled = true;
}

window.addEventListener("beforeunload", (event) => {
  if (current) event.preventDefault(); // leaving the page cancels the request
});
