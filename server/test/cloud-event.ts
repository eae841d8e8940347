import assert from "node:assert/strict";

const attributes = new Set(["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"]);

/** Holds an event against CloudEvents 1.0.2 (sections 3.1 and 4, JSON format), by nothing but that specification. */
export function checkCloudEvent(event: Record<string, unknown>): void {
  const { data: _, ...context } = event;
  assert.equal("data_base64" in event, false);
  for (const [name, value] of Object.entries(context)) {
    assert.match(name, /^[a-z0-9]{1,20}$/, `${name} is no name of an attribute`);
    assert.ok(typeof value === "string" && value !== "", `${name} must be a string that is not empty`);
    assert.doesNotMatch(value, /[\p{Cc}\p{Cs}\p{Cn}]/u, `${name} holds characters that are not allowed`);
  }
  assert.equal(event.specversion, "1.0");
  for (const name of ["id", "source", "type"]) assert.ok(name in event, `${name} is missing`);
  assert.ok(URL.canParse(String(event.source), "http://localhost"), "source is no URI reference");
  assert.ok(URL.canParse(String(event.dataschema)), "dataschema is no absolute URI");
  assert.match(String(event.datacontenttype), /^[a-z]+\/[a-z0-9.+-]+$/);
  assert.match(String(event.time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
  const extensions = Object.keys(context).filter((name) => !attributes.has(name));
  assert.deepEqual(extensions.sort(), ["apiversion", "sequence", "tenantid"]);
}
