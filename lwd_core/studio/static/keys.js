// Keys of the page that is open. While a person types into a field, only Escape is one.

let bound = {};
let described = [];

// Each: [keys, what it does, function]; "Shift+ArrowLeft" names a key with its shift.
export function bind(list) {
  bound = {};
  described = list;
  for (const [keys, , act] of list) for (const one of keys.split(" ")) bound[one] = act;
}

export const keys = () => described.map(([names, what]) => [names, what]);

const typing = (target) => target.closest?.("input, textarea, select") && target.type !== "checkbox";

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  if (typing(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const named = event.key === " " ? "Space" : event.key;
  const act = (event.shiftKey && bound[`Shift+${named}`]) || bound[named];
  // a button that has the focus answers to these itself
  if (!act || (event.target.closest?.("button, a, summary") && (named === "Space" || named === "Enter"))) return;
  event.preventDefault();
  act(event);
});
