/** The documents of a running server, made once each: they are the same octets on every start of a release. */
import { tagOf } from "./answer.ts";
import { asyncapiDocument } from "./asyncapi.ts";
import type { Kernel } from "./kernel.ts";
import { openapiDocument } from "./openapi.ts";
import { statusAt } from "./versions.ts";

type Document = { text: string; etag: string };
export type Documents = ReturnType<typeof createDocuments>;

export function createDocuments(kernel: Pick<Kernel, "modules" | "versions" | "settings" | "now">) {
  const made = new Map<string, Document | null>();

  /** A document by its name, made at its first reading; null where there is none. */
  function document(name: string, label: string, make: () => object | undefined): Document | null {
    const known = made.get(`${label} ${name}`);
    if (known !== undefined) return known;
    const content = make();
    const text = content && JSON.stringify(content);
    const document = text ? { text, etag: tagOf(text) } : null;
    if (kernel.versions.resolve(label)) made.set(`${label} ${name}`, document);
    return document;
  }

  function openapi(service: string, label: string): Document | null {
    return document(service, label, () => openapiDocument(kernel, service, label));
  }

  /** The document of what is sent; there is one where there are notifications. */
  function asyncapi(label: string): Document | null {
    return document("asyncapi", label, () =>
      openapi("notifications", label) ? asyncapiDocument(kernel, label) : undefined,
    );
  }

  /** Names of the services that have routes under a label. */
  function services(label: string): string[] {
    return kernel.modules.map(({ name }) => name).filter((name) => openapi(name, label) !== null);
  }

  /** Every label of the installation, GA versions first, with what serves it. A retired one serves no documents. */
  function versions() {
    const { list, newest, betaEnabled } = kernel.versions;
    const now = kernel.now();
    const documents = (label: string) => [
      ...services(label).map((service) => `/${label}/openapi/${service}.json`),
      ...(asyncapi(label) ? [`/${label}/asyncapi/notifications.json`] : []),
    ];
    const alias = (label: string) => ({
      label,
      status: "alias" as const,
      servedBy: newest.label,
      releasedAt: null,
      deprecatedAt: null,
      sunsetAt: null,
      successor: null,
      documents: documents(label),
    });
    return [
      ...list.map((version) => ({
        label: version.label,
        status: statusAt(version, now),
        servedBy: version.label,
        releasedAt: version.releasedAt,
        deprecatedAt: version.deprecatedAt ?? null,
        sunsetAt: version.sunsetAt ?? null,
        successor: version.deprecatedAt ? newest.label : null,
        documents: statusAt(version, now) === "retired" ? [] : documents(version.label),
      })),
      alias("latest"),
      ...(betaEnabled ? [alias("beta")] : []),
    ];
  }

  return { openapi, asyncapi, versions };
}
