/** The pages of docs/: written once for the repository and the server, whose links then name the server's addresses. */
import { readFileSync } from "node:fs";
import { Marked } from "marked";
import { declaredProblems } from "#kernel/problem";

const docs = new URL("../../../../../docs/", import.meta.url);

/** Files of docs/, and the change log, in the order in which they are shown; `reference` is looked up, the others are read. */
const files: { name: string; reference: boolean; file?: string }[] = [
  { name: "getting-started", reference: false },
  { name: "logging-in", reference: false },
  { name: "tenants-and-partners", reference: false },
  { name: "keys", reference: false },
  { name: "roles", reference: false },
  { name: "monitoring", reference: false },
  { name: "notifications", reference: false },
  { name: "receiver", reference: false },
  { name: "webhooks", reference: false },
  { name: "limits", reference: false },
  { name: "repeatable-calls", reference: false },
  { name: "versioning", reference: false },
  { name: "the-record", reference: false },
  { name: "operating", reference: false },
  { name: "operating-secrets", reference: false },
  { name: "routes", reference: true },
  { name: "errors", reference: true },
  { name: "events", reference: true },
  { name: "config", reference: true },
  { name: "changelog", reference: true, file: "../CHANGELOG.md" },
];

/** `html` is rendered when it is first asked for. */
export type Guide = { name: string; address: string; title: string; reference: boolean; readonly html: string };

/**
 * Reads all guides. A service's own name leads to its Swagger UI, so a guide of that name stands beside; the
 * code of a problem leads to its page.
 */
export function readGuides(services: readonly string[]): Guide[] {
  const addressOf = (name: string) => `/docs/${services.includes(name) ? `${name}-guide` : name}`;
  const codes = new Set(declaredProblems().map(({ code }) => code));
  const marked = new Marked({
    walkTokens(token) {
      if (token.type === "link")
        token.href = token.href.replace(/^([a-z-]+)\.md(?=#|$)/, (_: string, name: string) => addressOf(name));
    },
    renderer: {
      codespan: ({ text }) => codes.has(text) && `<a href="/docs/error/${text}"><code>${text}</code></a>`,
      heading({ tokens, text, depth }) {
        return `<h${depth} id="${anchorOf(text)}">${this.parser.parseInline(tokens)}</h${depth}>\n`;
      },
    },
  });
  return files.map(({ name, reference, file = `${name}.md` }) => {
    const words = readFileSync(new URL(file, docs), "utf8");
    const title = /^# (.+)$/m.exec(words)?.[1] ?? name;
    let html: string | undefined;
    return {
      name,
      address: addressOf(name),
      title,
      reference,
      get html() {
        // What scrolls sideways must be reached without a mouse.
        html ??= marked.parse(words, { async: false }).replaceAll(/<(pre|table)>/g, '<$1 tabindex="0">');
        return html;
      },
    };
  });
}

/** As GitHub makes them, so that one link holds in both places. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}
