// Stands in the page's head, before anything is drawn: the colours chosen before, the language that the visitor
// chose or the first of the browser's that we have, and that language's words on their way.
{
  const { languages, files } = document.currentScript.dataset;
  const ours = languages.split(" ");
  const read = (name) => { try { return localStorage.getItem(`backtalk.${name}`) ?? ""; } catch { return ""; } };
  const wanted = [read("language"), ...navigator.languages].map((tag) => tag.toLowerCase().split("-")[0]);
  const language = wanted.find((tag) => ours.includes(tag)) ?? ours[0];
  document.documentElement.lang = language;
  Object.assign(document.documentElement.dataset, { theme: read("theme"), language });
  const link = document.createElement("link");
  Object.assign(link, { rel: "preload", as: "fetch", crossOrigin: "anonymous", href: `${files}/${language}.json` });
  document.head.append(link);
}
