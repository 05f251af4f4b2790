// The pictures from this browser, the newest first. The browser keeps as many as fit.

import { $, fail, say } from "./messages.js";
import { megabytes } from "./picture_input.js";
import { describe, prepare, show } from "./stage.js";
import { pictures as store } from "./store.js";

const MOST = 200;
const MOST_BYTES = 200e6;

let all = []; // {id, file, values, seed, size, steps, seconds, hasSource}, the newest first
let deleted = [];
let isKept = true;
const otherTabs = new BroadcastChannel("mindone-diffusers: gallery");

// Restores the pictures of earlier visits and shows the newest one.
export async function restore() {
  try {
    all = [...all, ...(await store.all()).reverse()];
  } catch {
    isKept = false;
  }
  for (const picture of all) $("gallery").append(thumbnail(picture));
  if (all.length) select(all[0]);
  else show(null);
  tell();
}

// Keeps a picture and shows it in one of the panes.
export async function add(picture, pane) {
  deleted = [];
  await keep(picture);
  all.unshift(picture);
  $("gallery").prepend(thumbnail(picture));
  select(picture, pane);
  while (all.length > MOST || bytes() > MOST_BYTES) drop(all.at(-1));
  tell();
  otherTabs.postMessage("changed");
}

// Adds and removes what another tab added and removed.
async function refresh() {
  if (!isKept) return;
  const known = new Map(all.map((picture) => [picture.id, picture]));
  const stored = (await store.all()).reverse().map((picture) => known.get(picture.id) ?? picture);
  for (const picture of all.filter((each) => !stored.includes(each))) dropThumbnail(picture);
  for (const [i, picture] of stored.entries()) {
    if (!all.includes(picture)) $("gallery").insertBefore(thumbnail(picture), $("gallery").children[i] ?? null);
  }
  all = stored;
  tell();
}

// Stores it; if the browser gives no more room, the oldest ones go.
async function keep(picture) {
  try {
    picture.id = await store.add(picture);
  } catch (error) {
    if (error.name === "QuotaExceededError" && all.length) {
      drop(all.at(-1));
      await keep(picture);
    } else {
      isKept = false;
    }
  }
}

export function remove(picture) {
  const at = all.indexOf(picture);
  deleted = [{ picture, at }];
  drop(picture);
  const next = all[Math.min(Math.max(at, 0), all.length - 1)];
  if (next) select(next);
  else show(null);
  tell();
  say("Deleted.");
  $("undelete").focus();
}

// The newest picture; undefined if there is none.
export function youngest() {
  return all[0];
}

// The picture before or after another one; undefined beyond the ends.
export function beside(picture, by) {
  return all[all.indexOf(picture) + by];
}

// Shows one alone, or in one of the panes.
export function select(picture, pane) {
  if (pane === undefined) prepare(1);
  show(picture, pane);
  for (const item of $("gallery").children) item.firstChild.setAttribute("aria-pressed", String(item.picture === picture));
}

function drop(picture) {
  all = all.filter((each) => each !== picture);
  dropThumbnail(picture);
  if (picture.id !== undefined) store.remove(picture.id).then(() => otherTabs.postMessage("changed"), () => {});
}

function dropThumbnail(picture) {
  const item = [...$("gallery").children].find((each) => each.picture === picture);
  if (item) URL.revokeObjectURL(item.querySelector("img").src);
  item?.remove();
}

function thumbnail(picture) {
  const [item, button, image] = ["li", "button", "img"].map((name) => document.createElement(name));
  image.src = URL.createObjectURL(picture.file);
  Object.assign(image, { alt: describe(picture), loading: "lazy" });
  Object.assign(button, { type: "button", title: picture.values.prompt });
  button.append(image);
  button.addEventListener("click", () => select(picture));
  item.append(button);
  item.picture = picture;
  return item;
}

function bytes() {
  return all.reduce((sum, picture) => sum + picture.file.size, 0);
}

function tell() {
  $("kept").hidden = !all.length && !deleted.length;
  $("undelete").hidden = !deleted.length;
  $("delete_all").hidden = $("last_seed").disabled = !all.length;
  const count = all.length === 1 ? "1 picture" : `${all.length} pictures`;
  const where = isKept ? "kept only in this browser on this machine" : "kept until you close the page: this browser stores nothing";
  $("gallery_about").textContent = all.length ? `${count}, ${megabytes(bytes())}, ${where}.` : "";
}

$("delete_all").addEventListener("click", () => {
  deleted = all.map((picture, at) => ({ picture, at }));
  for (const picture of all) drop(picture);
  show(null);
  tell();
  say(`Deleted ${deleted.length}.`);
  $("undelete").focus();
});
$("undelete").addEventListener("click", async () => {
  const back = deleted;
  deleted = [];
  for (const { picture, at } of back) {
    all.splice(at, 0, picture);
    $("gallery").insertBefore(thumbnail(picture), $("gallery").children[at] ?? null);
    if (picture.id !== undefined) await store.put(picture).catch(() => { isKept = false; });
  }
  otherTabs.postMessage("changed");
  select(back[0].picture);
  tell();
  say(back.length === 1 ? "The picture is back." : "The pictures are back.");
  $("gallery").children[back[0].at]?.firstChild.focus();
});
otherTabs.addEventListener("message", refresh);
