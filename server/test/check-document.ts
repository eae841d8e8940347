import assert from "node:assert/strict";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import type { Answer } from "./harness.ts";

type Media = Record<string, { schema?: object }>;
type Operation = {
  operationId: string;
  security?: object[];
  requestBody?: { content: Media };
  responses: Record<string, { headers?: Record<string, { required?: boolean }>; content?: Media }>;
};
export type Published = {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
};

/** What HTTP itself may add to any reply, and documents do not state. */
const ofHttp =
  /^(content-type|content-length|transfer-encoding|date|connection|keep-alive|vary|cache-control|allow|upgrade|sec-websocket-accept|sec-websocket-version|access-control-[a-z-]+)$/;

/**
 * Checks replies against OpenAPI documents as they are published, by nothing but what these say: the operation of the
 * address, the status, the media type and the schema must stand there. Returns the id of the operation.
 */
export function documentChecker(documents: Record<string, Published>) {
  // `strict` is for writing schemas; here they are read as any client reads them. Unknown formats would go unchecked.
  const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: true });
  (addFormats as unknown as (target: Ajv2020) => void)(ajv);
  for (const [name, document] of Object.entries(documents)) ajv.addSchema(document, name, false, false);

  const stated = Object.entries(documents).flatMap(([name, { paths }]) =>
    Object.entries(paths).flatMap(([template, item]) => {
      const fits = new RegExp(`^${template.replaceAll(".", "\\.").replaceAll(/\{\w+\}/g, "[^/]+")}$`);
      return Object.entries(item).map(([method, operation]) => ({ name, template, method, operation, fits }));
    }),
  );

  /** A literal address goes before one with a parameter, as OpenAPI says (Paths Object). */
  function find(method: string, address: string) {
    const found = stated.filter((one) => one.method === method.toLowerCase() && one.fits.test(address));
    return found.find(({ template }) => !template.includes("{")) ?? found[0];
  }

  /** Without `fields`, items of a list have all that their schema requires: the first half of the shapes that may come. */
  function checkWhole(name: string, value: unknown, schema: unknown, what: string): void {
    const list = schema as { properties?: { items?: { items?: { anyOf?: { $ref?: string }[] } } } };
    const shapes = list.properties?.items?.items?.anyOf ?? [];
    const whole = shapes.slice(0, shapes.length / 2).flatMap(({ $ref }) => ($ref ? [ajv.getSchema(name + $ref)!] : []));
    if (whole.length === 0) return;
    for (const item of (value as { items: unknown[] }).items)
      assert.ok(
        whole.some((validate) => validate(item)),
        `${what}: ${ajv.errorsText(whole[0]!.errors)}`,
      );
  }

  return (method: string, path: string, answer: Answer): string => {
    const [address = ""] = path.split("?");
    const found = find(method, address);
    assert.ok(found, `${method} ${address} stands in no document`);
    const { name, template, operation } = found;
    const what = `${operation.operationId} ${answer.status}`;
    const response = operation.responses[answer.status];
    assert.ok(response, `${what}: the status is not declared`);
    const headers = Object.entries(response.headers ?? {});
    for (const [header, { required }] of headers)
      if (required) assert.ok(answer.headers.get(header), `${what}: ${header} is missing`);
    const names = new Set(headers.map(([header]) => header.toLowerCase()));
    for (const header of answer.headers.keys())
      assert.ok(names.has(header) || ofHttp.test(header), `${what}: the header ${header} is not declared`);
    const contentType = answer.headers.get("content-type")?.split(";")[0];
    if (!response.content) {
      assert.equal(answer.text, "", `${what}: a body is not declared`);
      return operation.operationId;
    }
    assert.ok(
      contentType && contentType in response.content,
      `${what}: ${contentType} is not declared, but ${Object.keys(response.content)}`,
    );
    const escaped = (part: string) => encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"));
    const place = ["paths", template, method.toLowerCase(), "responses", `${answer.status}`, "content", contentType];
    const validate = ajv.getSchema(`${name}#/${[...place, "schema"].map(escaped).join("/")}`);
    assert.ok(validate, `${what}: no schema for ${contentType}`);
    const value = /[/+]json$/.test(contentType) ? JSON.parse(answer.text) : answer.text;
    const valid = validate(value);
    assert.ok(valid, `${what}: ${ajv.errorsText(validate.errors)}\n${answer.text.slice(0, 2_000)}`);
    if (!/[?&]fields=/.test(path)) checkWhole(name, value, response.content[contentType]!.schema, what);
    return operation.operationId;
  };
}
