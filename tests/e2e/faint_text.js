// Every text whose contrast to its ground is below `readable` (WCAG 2.2), with its contrast.
(readable) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const channels = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map((value) => value / 255);
  };
  const over = (front, back) => back.map((value, i) => front[i] * front[3] + value * (1 - front[3]));
  const ground = (element) => {
    if (!element) return [1, 1, 1];
    const own = channels(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, ground(element.parentElement));
  };
  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const light = ([red, green, blue]) => 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  const contrast = (element) => {
    const back = ground(element);
    const lights = [light(over(channels(getComputedStyle(element).color), back)), light(back)];
    return (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05);
  };
  const says = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const isOn = (element) => !element.closest(":disabled, .unseen") && !element.previousElementSibling?.disabled;
  const isSeen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  return [...document.querySelectorAll("#backtalk *")]
    .filter((element) => says(element) && isOn(element) && isSeen(element))
    .map((element) => [contrast(element), element.textContent.trim().slice(0, 40)])
    .filter(([value]) => value < readable)
    .map(([value, text]) => `${value.toFixed(2)}: ${text}`);
}
