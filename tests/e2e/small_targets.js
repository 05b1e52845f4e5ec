// What a finger has to hit and is smaller than `smallest` pixels either way, with its size.
(smallest) => {
  const targets = "#backtalk :is(button, summary, textarea, label.chip, .segments label)";
  const isTight = (element) => element.matches(".segments:not(.wide) label");  // the switch as a whole is large
  return [...document.querySelectorAll(targets)]
    .filter((element) => element.checkVisibility({ visibilityProperty: true }) && !isTight(element))
    .map((element) => [element.ariaLabel || element.innerText || element.id, element.getBoundingClientRect()])
    .filter(([, box]) => box.width && Math.min(box.width, box.height) < smallest - 0.5)
    .map(([name, box]) => `${name}: ${Math.round(box.width)} x ${Math.round(box.height)}`);
}
