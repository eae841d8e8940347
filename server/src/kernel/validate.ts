/** Steps 9 and 10 of the front door: the schema of a body and of query parameters, all faults reported at once. */
import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { closest, distance } from "fastest-levenshtein";
import type { TObject, TSchema } from "typebox";
import type { Fault } from "./problem.ts";

const ajv = new Ajv2020({
  allErrors: true,
  allowUnionTypes: true,
  strict: false,
  verbose: true,
  ownProperties: true,
  // The schemas are our own. The linters of the documents hold them against the meta-schema; compiling that takes longer
  // than compiling them, within some caller's first call.
  validateSchema: false,
});
// ajv-formats is CommonJS; under Node's ESM its function is the default member.
(addFormats as unknown as { default?: typeof addFormats }).default
  ? (addFormats as unknown as { default: (a: Ajv2020) => void }).default(ajv)
  : (addFormats as unknown as (a: Ajv2020) => void)(ajv);

// RFC 3339 admits a leap second, which no Date can hold, and Date rolls 30 February over into March: both are refused.
const dateTime = /^(\d{4}-\d\d-\d\d)[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/;
ajv.addFormat("date-time", (text: string) => {
  const date = dateTime.exec(text)?.[1];
  if (!date || Number.isNaN(Date.parse(text))) return false;
  const midnight = new Date(`${date}T00:00:00Z`);
  return !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(date);
});

const compiled = new WeakMap<object, ValidateFunction>();

function validatorOf(schema: TSchema): ValidateFunction {
  let validate = compiled.get(schema);
  if (!validate) {
    validate = ajv.compile(schema);
    compiled.set(schema, validate);
  }
  return validate;
}

/** The faults of a value against a schema, with pointers below `base`; none: the value is valid. No type is coerced. */
export function faultsOf(schema: TSchema, value: unknown, base = ""): Fault[] {
  const validate = validatorOf(schema);
  if (validate(value)) return [];
  return tidy(validate.errors ?? []).map((error) => faultOf(error, (pointer) => ({ pointer: base + pointer })));
}

/** A nullable or enumerated node says one thing once: what stands below a failed choice is dropped. */
function tidy(errors: ErrorObject[]): ErrorObject[] {
  const choices = errors.filter(
    (error) => error.keyword === "anyOf" || error.keyword === "oneOf" || error.keyword === "if",
  );
  return errors.filter(
    (error) =>
      error.keyword !== "if" &&
      !choices.some(
        (choice) => choice !== error && choice.keyword !== "if" && error.schemaPath.startsWith(`${choice.schemaPath}/`),
      ),
  );
}

function escaped(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}

function faultOf(error: ErrorObject, place: (pointer: string) => { pointer: string } | { parameter: string }): Fault {
  const { keyword, params, instancePath } = error;
  if (keyword === "required") {
    return {
      ...place(`${instancePath}/${escaped(params.missingProperty)}`),
      rule: "required",
      message: `${params.missingProperty} is missing.`,
    };
  }
  if (keyword === "additionalProperties" || keyword === "unevaluatedProperties") {
    const name: string = params.additionalProperty ?? params.unevaluatedProperty;
    const parent = error.parentSchema as { properties?: Record<string, unknown>; "x-read-only"?: readonly string[] };
    const at = place(`${instancePath}/${escaped(name)}`);
    if (parent["x-read-only"]?.includes(name))
      return { ...at, rule: "read_only", message: `${name} is set by the server and cannot be written.` };
    const fault: Fault = { ...at, rule: "additionalProperties", message: `${name} is not known here.` };
    const hint = nearest(name, Object.keys(parent.properties ?? {}));
    return hint ? { ...fault, hint } : fault;
  }
  const at = place(instancePath);
  if (keyword === "enum") {
    const values = (params.allowedValues as unknown[]).filter((value) => value !== null);
    return { ...at, rule: "enum", message: `Must be one of ${values.join(", ")}.` };
  }
  if (keyword === "type") return { ...at, rule: "type", message: `Must be ${[params.type].flat().join(" or ")}.` };
  if (keyword === "pattern") return { ...at, rule: "pattern", message: patternMessage(error) };
  return { ...at, rule: keyword, message: `${capital(error.message ?? "is not valid")}.` };
}

function patternMessage(error: ErrorObject): string {
  const described = (error.parentSchema as { "x-pattern"?: string })["x-pattern"];
  return described ?? `Must match ${error.params.pattern}.`;
}

function capital(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The known name that a mistyped one was probably meant to be. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  if (known.length === 0) return undefined;
  const best = closest(
    name.toLowerCase(),
    known.map((word) => word.toLowerCase()),
  );
  const index = known.findIndex((word) => word.toLowerCase() === best);
  const most = name.length < 4 ? 1 : Math.max(2, Math.floor(name.length / 3));
  return distance(name.toLowerCase(), best) <= most ? known[index] : undefined;
}

type Node = { type?: string | string[]; items?: Node; "x-repeat"?: boolean };

/**
 * Reads query parameters by their schema: numbers and booleans from their words, arrays from a comma-separated value
 * (or from repetition, where the schema says `x-repeat`). Anything else that is repeated is a fault.
 */
export function readQuery(
  schema: TObject | undefined,
  search: string,
): { query: Record<string, unknown>; faults: Fault[] } {
  const properties = (schema?.properties ?? {}) as Record<string, Node>;
  const query: Record<string, unknown> = Object.create(null);
  const faults: Fault[] = [];
  if (search === "" && !schema) return { query, faults };
  for (const [name, value] of new URLSearchParams(search)) {
    if (value.includes("\0") || name.includes("\0")) {
      faults.push({ parameter: name, rule: "encoding", message: "U+0000 is not text." });
      continue;
    }
    const node = Object.hasOwn(properties, name) ? properties[name]! : undefined;
    if (node?.["x-repeat"]) {
      query[name] = [...((query[name] as unknown[]) ?? []), worded(value, node.items!)];
    } else if (name in query) {
      faults.push({ parameter: name, rule: "duplicate_key", message: `${name} may be given once.` });
    } else {
      query[name] = node?.items ? value.split(",").map((part) => worded(part, node.items!)) : worded(value, node ?? {});
    }
  }
  if (faults.length === 0 && schema) {
    const validate = validatorOf(schema);
    if (!validate(query)) {
      for (const error of tidy(validate.errors ?? [])) {
        faults.push(
          faultOf(error, (pointer) => ({
            parameter: (pointer.split("/")[1] ?? "").replaceAll("~1", "/").replaceAll("~0", "~"),
          })),
        );
      }
    }
  }
  if (!schema) {
    for (const name of Object.keys(query))
      faults.push({ parameter: name, rule: "additionalProperties", message: `${name} is not known here.` });
  }
  return { query, faults };
}

function worded(value: string, node: Node): unknown {
  const types = [node.type ?? "string"].flat();
  if ((types.includes("integer") || types.includes("number")) && /^-?\d+(\.\d+)?$/.test(value)) return Number(value);
  if (types.includes("boolean") && (value === "true" || value === "false")) return value === "true";
  return value;
}
