// Connects the page's events to its modules.

import { showExpected } from "./expected.js";
import { randomSeed, remember, restore as restoreForm } from "./form.js";
import * as gallery from "./gallery.js";
import { enlarge, generate, generateAgain, stop } from "./generating.js";
import { $, fail, markRight, say } from "./messages.js";
import { examplesNow, listModels, showModel, showProfile } from "./models.js";
import { restore as restorePictures } from "./pictures.js";
import * as stage from "./stage.js";
import { open as zoom } from "./zoom.js";

const PAUSE = 150; // milliseconds without a key before it generates while typing
const SHOWN = { brush: (value) => `${Math.round(100 * value)} %`, strength: String, upscale_strength: String, control_scale: String };

async function ready() {
  try {
    await Promise.all([listModels(), kept]);
    restoreForm(true);
    changed();
    showExamples();
    say("Ready.");
  } catch (error) {
    fail(error);
  }
}

// Shows the model's examples.
function showExamples() {
  const items = examplesNow().map((prompt) => {
    const [item, button] = ["li", "button"].map((name) => document.createElement(name));
    Object.assign(button, { type: "button", textContent: prompt });
    button.addEventListener("click", () => {
      $("prompt").value = prompt;
      changed();
      generate();
    });
    item.append(button);
    return item;
  });
  $("examples").replaceChildren(...items);
  if (!$("prompt").value) $("prompt").placeholder = `such as: ${examplesNow()[0]}`;
}

// Reacts to a change in the form.
function changed() {
  for (const [name, words] of Object.entries(SHOWN)) $(`${name}_shown`).textContent = words($(name).value);
  $("details").hidden = $("upscale_with").value !== "details";
  showExpected();
  remember();
}

function useKey() {
  sessionStorage.setItem("key", $("key").value);
  markRight($("key"));
  ready();
}

let pause;
function typed() {
  clearTimeout(pause);
  if (!$("typing").checked || $("typing").disabled || !$("prompt").value.trim()) return;
  if (!$("seed").value) $("seed").value = randomSeed(); // so only the words make a difference
  pause = setTimeout(generateAgain, PAUSE);
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); generate(); });
$("form").addEventListener("input", (event) => { markRight(event.target); changed(); });
$("stop").addEventListener("click", stop);
$("prompt").addEventListener("input", typed);
$("model").addEventListener("change", () => { showModel(); showExamples(); changed(); });
$("profile").addEventListener("change", () => {
  for (const name of ["steps", "scheduler"]) $(name).value = ""; // a profile has its own
  showProfile();
  changed();
});
$("dice").addEventListener("click", () => { $("seed").value = ""; changed(); });
$("last_seed").addEventListener("click", () => { $("seed").value = gallery.youngest().seed; changed(); });
$("key").addEventListener("change", useKey);
$("key").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault(); // it would generate
  useKey();
});
document.addEventListener("keydown", (event) => {
  if ($("zoom").open) return;
  if (event.key === "Escape") stop();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) generate();
});
stage.connect({ zoom, enlarge, remove: gallery.remove });
restoreForm(false);
const kept = Promise.all([gallery.restore(), restorePictures()]);
ready();
