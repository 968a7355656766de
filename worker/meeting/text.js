// The text that a page shows, with that in open shadow roots.
(most) => {
  const parts = [];
  const read = (root) => {
    const top = root instanceof Document ? root.body : null;
    if (top) parts.push(top.innerText);
    else for (const child of root.children) parts.push(child.innerText ?? "");
    for (const each of root.querySelectorAll("*")) if (each.shadowRoot) read(each.shadowRoot);
  };
  read(document);
  return parts.join("\n").slice(0, most);
}
