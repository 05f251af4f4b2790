// The browser's storage (IndexedDB): the gallery's pictures and the form's pictures and paint.
// If the browser stores nothing, as in some private windows, both exist only in the page's memory.

let opened;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("mindone-diffusers", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("pictures", { keyPath: "id", autoIncrement: true });
      request.result.createObjectStore("form");
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

// Runs one operation in a store; returns its result once it is written.
async function inStore(name, mode, act) {
  const transaction = (await database()).transaction(name, mode);
  const request = act(transaction.objectStore(name));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error ?? request.error);
  });
}

export const pictures = {
  all: () => inStore("pictures", "readonly", (store) => store.getAll()),
  add: (picture) => inStore("pictures", "readwrite", (store) => store.add(picture)),
  put: (picture) => inStore("pictures", "readwrite", (store) => store.put(picture)),
  remove: (id) => inStore("pictures", "readwrite", (store) => store.delete(id)),
  clear: () => inStore("pictures", "readwrite", (store) => store.clear()),
};

export const form = {
  get: (name) => inStore("form", "readonly", (store) => store.get(name)),
  put: (name, value) => inStore("form", "readwrite", (store) => (value === null ? store.delete(name) : store.put(value, name))),
};
