// What the page does when it is loaded, clicked and typed in; each thing that it does is a module.

import { draw, drawAgain, stop } from "./drawing.js";
import { $, listModels, listProfiles, say, takeProfile, tellSpeed } from "./form.js";

const PAUSE = 150; // milliseconds without a key before it draws while typing

async function ready() {
  try {
    await listModels();
    say("Ready.");
  } catch (error) {
    say(error.message, true);
  }
}

let pause;
function typed() {
  clearTimeout(pause);
  if (!$("typing").checked || $("typing").disabled || !$("prompt").value.trim()) return;
  if (!$("seed").value) $("seed").value = Math.floor(Math.random() * 2 ** 32); // so that the words alone make the difference
  pause = setTimeout(drawAgain, PAUSE);
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); draw(); });
$("form").addEventListener("input", tellSpeed);
$("stop").addEventListener("click", stop);
$("prompt").addEventListener("input", typed);
$("model").addEventListener("change", listProfiles);
$("profile").addEventListener("change", takeProfile);
$("key").addEventListener("change", () => { sessionStorage.setItem("key", $("key").value); ready(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) draw();
});
ready();
