// Finds things on a page: in the document, in open shadow roots, in visible frames of the same origin. Every script that looks
// at a page or acts on it contains this. `survey` begins one look, and nothing is kept after it.
const survey = (ignore) => {
  const [MOST_ELEMENTS, MOST_ROOTS, MOST_CHARS] = [100_000, 200, 4_000_000];
  const UNSPOKEN = new Set(["SCRIPT", "STYLE", "NOSCRIPT", "TEMPLATE"]);
  const CONTROLS =
    "button, a, summary, input[type=button], input[type=submit], [role=button], [role=link], [role=menuitem], [role=tab]";
  const bad = new Set(); // invalid selectors

  // The form in which texts are compared: no spaces, no invisible characters, one kind of apostrophe, lower case.
  const fold = (text) =>
    text
      .replace(/[\s\u00ad\u200b-\u200f\u2060\ufeff]+/g, "")
      .replace(/[\u2018\u2019\u02bc\u2032`\u00b4]/g, "'")
      .replace(/\u2026/g, "...")
      .replace(/[\u2010-\u2015]/g, "-")
      .toLowerCase();

  // Left of the page or above it, where it cannot be scrolled to.
  function isAway(element) {
    const box = element.getBoundingClientRect();
    const { scrollX = 0, scrollY = 0 } = element.ownerDocument.defaultView ?? {};
    return (box.width > 0 || box.height > 0) && (box.right + scrollX <= 0 || box.bottom + scrollY <= 0);
  }

  const isShown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !isAway(element);
  const isLaidOut = (element) => element.checkVisibility();

  // Text for screen readers only, or a closed menu: it is cut off by a box without a size.
  function isCutOff(element) {
    let at = element;
    while (at && !((at.offsetWidth <= 1 || at.offsetHeight <= 1) && getComputedStyle(at).overflowX !== "visible")) at = at.parentElement;
    for (let inner = element; at && inner !== at; inner = inner.parentElement) {
      if (getComputedStyle(inner).position === "fixed") return false; // a fixed element is not cut off by its box
    }
    return at !== null;
  }

  const roots = [];
  let elements = 0;
  function collect(root) {
    roots.push(root);
    for (const element of root.querySelectorAll("*")) {
      elements += 1;
      if (elements > MOST_ELEMENTS || roots.length >= MOST_ROOTS) return;
      if (element.shadowRoot) collect(element.shadowRoot);
      else if (element.localName === "iframe" && element.contentDocument?.body && isLaidOut(element)) {
        collect(element.contentDocument);
      }
    }
  }
  collect(document);

  // The element that contains an element's document or shadow root.
  function outOf(element) {
    const root = element.getRootNode();
    return root.host ?? root.defaultView?.frameElement ?? null;
  }

  function isInside(element, selector) {
    for (let at = element; at; at = outOf(at)) if (at.closest(selector)) return true;
    return false;
  }

  function attempt(selector, ask, otherwise) {
    try {
      return ask(selector);
    } catch (error) {
      if (error.name !== "SyntaxError") throw error;
      bad.add(selector);
      return otherwise;
    }
  }

  const ignored = (ignore ?? []).filter((selector) => attempt(selector, (css) => (document.querySelector(css), true), false)).join();

  const foundBy = new Map();
  function all(selector) {
    let found = foundBy.get(selector);
    if (!found) {
      found = attempt(selector, (css) => roots.flatMap((root) => [...root.querySelectorAll(css)]), []);
      foundBy.set(selector, found);
    }
    return found;
  }

  // The elements that may say what the page shows: not those with messages and captions of people.
  const telling = (selector) =>
    all(selector).filter((element) => !ignored || !isInside(element.parentElement ?? outOf(element), ignored));

  // The block element whose line contains an inline element's text.
  function blockOf(element) {
    let at = element;
    while (/^(inline|contents)$/.test(getComputedStyle(at).display) && at.parentElement) at = at.parentElement;
    return at;
  }

  // The visible text of a tree, with frames and shadow roots. `lines` leaves out the names of controls.
  function shownText(tree, inLines = false) {
    const within = (root) => `\n${[...root.children].map((child) => shownText(child, inLines)).join("\n")}\n`;
    if (ignored && tree.matches(ignored)) return "";
    let text = tree.shadowRoot && isLaidOut(tree) ? within(tree.shadowRoot) : "";
    let block = null;
    const walker = tree.ownerDocument.createTreeWalker(tree, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT, (node) => {
      if (node.nodeType !== Node.ELEMENT_NODE) return NodeFilter.FILTER_ACCEPT;
      if (UNSPOKEN.has(node.tagName) || (ignored && node.matches(ignored))) return NodeFilter.FILTER_REJECT;
      const isControl = inLines && node.matches(CONTROLS);
      if (isControl || node.localName === "br") text += "\n";
      if (isControl) return NodeFilter.FILTER_REJECT;
      if (node.shadowRoot && isLaidOut(node)) text += within(node.shadowRoot);
      return NodeFilter.FILTER_ACCEPT;
    });
    for (let node = tree; node && text.length < MOST_CHARS; node = walker.nextNode()) {
      if (node.nodeType === Node.TEXT_NODE) {
        const parent = node.parentElement ?? node.getRootNode().host;
        if (!node.data.trim() || !isShown(parent) || isCutOff(parent)) continue;
        if (inLines && block !== (block = blockOf(parent))) text += "\n";
        text += inLines ? `${node.data.replace(/\s+/g, " ")} ` : `${node.data} `;
      } else if (node.localName === "iframe" && roots.includes(node.contentDocument)) {
        text += `\n${shownText(node.contentDocument.body, inLines)}\n`;
      }
    }
    return text;
  }

  // Whether nothing shows that a person could read or use; a logo and a spinner do not count.
  const THINGS = `${CONTROLS}, input, textarea, select, canvas, video, embed, object, iframe`;
  function isEmpty() {
    const shows = (thing) => isShown(thing) && thing.offsetWidth !== 0 && !isCutOff(thing);
    if (all(THINGS).some((thing) => shows(thing) && !roots.includes(thing.contentDocument))) return false;
    return !roots.some((root) => {
      const texts = document.createTreeWalker(root.body ?? root, NodeFilter.SHOW_TEXT);
      while (texts.nextNode()) {
        const parent = texts.currentNode.parentElement;
        if (texts.currentNode.data.trim() && parent && !UNSPOKEN.has(parent.tagName) && isShown(parent) && !isCutOff(parent)) return true;
      }
      return false;
    });
  }

  // All text of the page, visible or not, and the names of its controls. Most phrases are not in it, and are not looked for
  // any further.
  let everything;
  function mayHold(phrases) {
    if (everything === undefined) {
      const texts = roots.map((root) => (root.body ?? root).textContent ?? "");
      for (const element of roots.flatMap((root) => [...root.querySelectorAll("[aria-label], [title], input[value]")])) {
        texts.push(element.getAttribute("aria-label") ?? "", element.title ?? "", element.value ?? "");
      }
      everything = fold(texts.join("\n").slice(0, MOST_CHARS));
    }
    return phrases.some((phrase) => everything.includes(phrase));
  }

  const textOf = new Map();
  function holds(element, phrases) {
    let text = textOf.get(element);
    if (text === undefined) {
      text = fold(isLaidOut(element) ? shownText(element) : "");
      textOf.set(element, text);
    }
    return phrases.some((phrase) => text.includes(phrase));
  }

  const saidBy = new Map();
  // Whether one of the phrases is a whole sentence in the element, or the element's name.
  function says(element, phrases) {
    let said = saidBy.get(element);
    if (!said) {
      const sentences = isLaidOut(element) ? shownText(element, true).split(/\n|[.!?]+(?=\s)/) : [];
      said = new Set([element.getAttribute("aria-label") ?? "", ...sentences].map(fold));
      saidBy.set(element, said);
    }
    return phrases.some((phrase) => said.has(phrase));
  }

  // Whether one of the labels is the element's name or text, or that of an element in it.
  function isCalled(element, labels) {
    if (ignored && element.matches(ignored)) return false;
    const names = [element.getAttribute("aria-label"), element.title, element.value];
    if (names.some((name) => labels.includes(fold(String(name ?? ""))))) return true;
    const text = fold(element.textContent);
    if (!labels.some((label) => text.includes(label))) return false;
    if (labels.includes(fold(shownText(element)))) return true;
    const counts = isShown(element) ? isShown : () => true; // a toolbar that hides itself also hides its buttons' names
    return [element, ...element.querySelectorAll("*")].some(
      (part) => labels.includes(fold(part.textContent)) && counts(part) && !(ignored && (isInside(part, ignored) || part.querySelector(ignored))),
    );
  }

  const isOff = (element) =>
    element.matches(":disabled") || element.getAttribute("aria-disabled") === "true" || element.classList.contains("disabled");

  // A short hash of the page that changes when a click took. Changes of the button by hovering and focus do not count.
  function mark(button) {
    const { disabled, ariaDisabled, ariaBusy, ariaPressed, ariaChecked, ariaLabel, isConnected } = button;
    const text = roots.map((root) => (root.body ?? root).textContent.length).join();
    const own = [disabled, ariaDisabled, ariaBusy, ariaPressed, ariaChecked, ariaLabel, isConnected, isShown(button), isOff(button)];
    return [location.href, elements, roots.length, text, ...own, button.textContent].join("|");
  }

  // The elements of a target, visible ones first.
  function meant(target) {
    const { css, label = [], text = [] } = typeof target === "string" ? { css: target } : target;
    if (label.length && !mayHold(label)) return [];
    const found = all(css ?? CONTROLS).filter(
      (element) => (!label.length || isCalled(element, label)) && (!text.length || holds(element, text)),
    );
    return [...found.filter(isShown), ...found.filter((element) => !isShown(element))];
  }

  return { CONTROLS, all, attempt, bad, fold, holds, isCalled, isEmpty, isInside, isLaidOut, isOff, isShown, mark, mayHold, meant, outOf, says, telling };
};
