/** The schemas of a document: those with a title stand once among the components, everything else where it is used. */
import type { TSchema } from "typebox";

export type Json = Record<string, unknown>;

export class Components {
  readonly #schemas = new Map<string, string>();

  put(schema: TSchema): Json {
    const plain = JSON.parse(JSON.stringify(schema)) as Json;
    return this.#lift(plain);
  }

  all(): Json {
    return Object.fromEntries(
      [...this.#schemas].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, text]) => [name, JSON.parse(text)]),
    );
  }

  #lift(node: Json): Json {
    // Items of a bulk call are checked one by one by their operation; here is what they must look like.
    if (isNode(node["x-schema"])) return this.#lift(node["x-schema"]);
    const inner: Json = {};
    for (const [name, value] of Object.entries(node)) inner[name] = this.#inside(name, value);
    const title = node.title;
    if (typeof title !== "string" || node.type !== "object") return inner;
    const text = JSON.stringify(inner);
    const known = this.#schemas.get(title);
    if (known !== undefined && known !== text) throw new Error(`Two schemas have the title ${title}.`);
    this.#schemas.set(title, text);
    return { $ref: `#/components/schemas/${title}` };
  }

  #inside(name: string, value: unknown): unknown {
    if (Array.isArray(value))
      return value.map((item) => (isNode(item) && name !== "enum" && name !== "examples" ? this.#lift(item) : item));
    if (!isNode(value)) return value;
    if (name === "properties")
      return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, this.#lift(child as Json)]));
    return name === "items" || name === "additionalProperties" ? this.#lift(value) : value;
  }
}

function isNode(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
