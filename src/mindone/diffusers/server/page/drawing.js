// One drawing at a time: from the form to the panes, step by step, and into the gallery.

import { events, pictureOf } from "./api.js";
import { $, listModels, noteSeconds, requests, say } from "./form.js";
import { add } from "./gallery.js";
import { send } from "./pictures.js";

const panes = [...document.querySelectorAll("#canvas figure")];
let current = null;
let next = null;

export function stop() {
  next = null;
  current?.abort();
}

// Draw what the form says; with `keep` the pictures go into the gallery.
export async function draw({ keep = true } = {}) {
  if (current || !$("form").reportValidity()) return;
  current = new AbortController();
  const began = performance.now();
  begin();
  try {
    const all = requests();
    panes.forEach((pane, i) => { pane.hidden = i >= all.length; });
    const warnings = new Set();
    for (const [i, fields] of all.entries()) await drawInto(panes[i], fields, keep, all.length > 1, warnings);
    say([`Done in ${((performance.now() - began) / 1000).toFixed(1)} s.`, ...warnings].join(" "));
    listModels().catch(() => {}); // it tells the seconds anew
  } catch (error) {
    const isStopped = error.name === "AbortError";
    say(isStopped ? "Stopped." : error.message, !isStopped);
  } finally {
    end();
  }
}

// Give up what is drawn, and draw what the form says by now.
export function drawAgain() {
  if (!current) {
    draw({ keep: false });
    return;
  }
  next = { keep: false };
  current.abort();
}

// What the server warns of is added to `warnings`.
async function drawInto(pane, fields, keep, named, warnings) {
  const [image, caption] = pane.children;
  const began = performance.now();
  const name = fields.profile ?? "as below";
  caption.textContent = named ? name : "";
  for await (const event of events(await send(fields, current.signal))) {
    const kind = event.type.split(".")[1];
    if (kind === "waiting") {
      say(waitingFor(event));
      continue;
    }
    if (kind === "progress") {
      $("progress").value = event.step / event.steps;
      say(`${named ? `${name}: ` : ""}Step ${event.step} of ${event.steps}, ${event.seconds_left.toFixed(1)} s left`);
      continue;
    }
    const file = pictureOf(event);
    show(image, file);
    image.dataset.step = kind === "completed" ? "last" : event.partial_image_index;
    if (kind !== "completed") continue;
    event.warnings?.forEach((warning) => warnings.add(warning));
    const seconds = (performance.now() - began) / 1000;
    noteSeconds(fields, seconds);
    if (named) caption.textContent = `${name} · ${seconds.toFixed(1)} s`;
    if (keep) add(file, event, fields);
  }
}

function waitingFor({ stage, place }) {
  if (stage === "loading") return "Loading the model…";
  if (stage === "compiling") return "Compiling the model for pictures of this size, once…";
  if (stage === "drawing") return "Drawing the first step…";
  return place > 1 ? `Waiting: number ${place} in the queue…` : "Waiting: next in the queue…";
}

function show(image, file) {
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(file);
  image.hidden = false;
}

function begin() {
  turn("draw", "stop");
  $("progress").removeAttribute("value");
  say("Sent…");
}

// One button is of use now instead of the other, and has the focus if that one had it.
function turn(from, to) {
  const isFocused = document.activeElement === $(from);
  $(to).disabled = false;
  if (isFocused) $(to).focus();
  $(from).disabled = true;
}

function end() {
  current = null;
  turn("stop", "draw");
  $("progress").value = 0;
  const again = next;
  next = null;
  if (again) draw(again);
}
