// The chat's part of the address: which conversation is shown. What begins with / is another tab's.

import { byId } from "./dom.js";

/** The id of the conversation that the address names, or "". */
export const addressed = () => location.hash.slice(1);

/** The address says which conversation is shown; another tab's address stays, and the way back leads here. */
export function tellAddress({ id, title }) {
  const hash = title ? `#${id}` : "#";
  byId("tabs").querySelector("[data-view=chat]").setAttribute("href", hash);
  if (!location.hash.startsWith("#/")) history.replaceState(null, "", title ? hash : location.pathname + location.search);
}
