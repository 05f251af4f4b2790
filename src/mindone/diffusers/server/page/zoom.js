// Shows a picture at the size of the window, or larger.

import { beside } from "./gallery.js";
import { $ } from "./messages.js";
import { describe } from "./stage.js";

const STEP = 1.5;
const MOST = 8;

let picture = null;
let scale = 1; // relative to the size that fits the window

export function open(chosen) {
  if (!chosen) return;
  picture = chosen;
  URL.revokeObjectURL($("zoomed").src);
  $("zoomed").src = URL.createObjectURL(picture.file);
  $("zoomed").alt = describe(picture);
  for (const [id, by] of [["newer", -1], ["older", 1]]) $(id).disabled = !beside(picture, by);
  if (!$("zoom").open) $("zoom").showModal();
  $("loupe").focus();
  resize(1);
}

function resize(to) {
  scale = Math.min(Math.max(to, 1), MOST);
  const image = $("zoomed");
  if (!image.naturalWidth) return;
  const fits = Math.min($("loupe").clientWidth / image.naturalWidth, $("loupe").clientHeight / image.naturalHeight);
  image.style.width = `${fits * scale * image.naturalWidth}px`;
  $("percent").textContent = `${Math.round(100 * fits * scale)} %`;
  $("smaller").disabled = scale <= 1;
  $("larger").disabled = scale >= MOST;
  $("loupe").scrollTo(($("loupe").scrollWidth - $("loupe").clientWidth) / 2, ($("loupe").scrollHeight - $("loupe").clientHeight) / 2);
}

function turn(by) {
  const next = beside(picture, by);
  if (next) open(next);
}

$("zoomed").addEventListener("load", () => resize(1));
$("zoomed").addEventListener("click", () => resize(scale > 1 ? 1 : STEP * STEP));
$("smaller").addEventListener("click", () => resize(scale / STEP));
$("larger").addEventListener("click", () => resize(scale * STEP));
$("newer").addEventListener("click", () => turn(-1));
$("older").addEventListener("click", () => turn(1));
$("close").addEventListener("click", () => $("zoom").close());
window.addEventListener("resize", () => { if ($("zoom").open) resize(scale); });
$("zoom").addEventListener("keydown", (event) => {
  if (event.key === "+" || event.key === "=") resize(scale * STEP);
  if (event.key === "-") resize(scale / STEP);
  if (scale === 1 && event.key === "ArrowLeft") turn(-1);
  if (scale === 1 && event.key === "ArrowRight") turn(1);
});
