/** What of two AsyncAPI 3 documents of one version differs: all that they describe is sent by us. */
import {
  below,
  type Comparison,
  compareBy,
  type Difference,
  eachMember,
  follow,
  type Json,
  objectOf,
  same,
} from "./breaking-rules.ts";
import { compareSchemas } from "./breaking-schema.ts";
import { compareSchemes } from "./breaking-security.ts";

export function compareAsyncapi(before: Json, after: Json): Difference[] {
  return compareBy(before, after, (on) => {
    compareServers(on);
    eachMember(before.channels, after.channels, {
      gone: (name) => on.note("path-removed", below("/channels", name)),
      come: (name) => on.note("path-added", below("/channels", name)),
      kept: (name) => compareChannel(on, name),
    });
    eachMember(before.operations, after.operations, {
      gone: (name) => on.note("verb-removed", below("/operations", name)),
      come: (name) => on.note("verb-added", below("/operations", name)),
      kept: (name) => {
        const [old, now] = [before, after].map((document) => objectOf(objectOf(document.operations)[name]));
        for (const word of ["action", "channel", "security"])
          if (!same(old![word], now![word]))
            on.note(word === "security" ? "authentication-ended" : "type-changed", below("/operations", name, word));
      },
    });
    const [old, now] = [objectOf(before.components), objectOf(after.components)];
    eachMember(old.messages, now.messages, {
      gone: (type) => on.note("event-removed", below("/components/messages", type)),
      come: (type) => on.note("event-added", below("/components/messages", type)),
      kept: (type) => compareMessage(on, type),
    });
    compareSchemes(on, old.securitySchemes, now.securitySchemes, "/components/securitySchemes");
    if (!same(before.asyncapi, after.asyncapi)) on.note("not-listed", "/asyncapi");
  });
}

function compareServers(on: Comparison): void {
  const { servers: before } = on.before;
  const { servers: after } = on.after;
  eachMember(before, after, {
    gone: (name) => on.note("path-removed", below("/servers", name)),
    come: (name) => on.note("path-added", below("/servers", name)),
    kept: (name) => {
      const [old, now] = [objectOf(objectOf(before)[name]), objectOf(objectOf(after)[name])];
      for (const word of ["host", "pathname", "protocol", "protocolVersion"])
        if (!same(old[word], now[word])) on.note("path-removed", below("/servers", name, word));
      const ways = (server: Json) => (server.security ?? []) as unknown[];
      if (ways(old).some((way) => !ways(now).some((one) => same(one, way))))
        on.note("authentication-ended", below("/servers", name, "security"));
    },
  });
}

function compareChannel(on: Comparison, name: string): void {
  const at = below("/channels", name);
  const [old, now] = [on.before, on.after].map((document) => objectOf(objectOf(document.channels)[name]));
  if (old!.address !== now!.address) on.note("path-removed", below(at, "address"));
  eachMember(old!.parameters, now!.parameters, {
    gone: (one) => on.note("path-removed", below(at, "parameters", one)),
    come: (one) => on.note("path-removed", below(at, "parameters", one)),
    kept: (one) => {
      const place = below(at, "parameters", one);
      const [was, is] = [old, now].map((channel) => objectOf(objectOf(channel!.parameters)[one]));
      compareSchemas(on, "request", { enum: was!.enum }, { enum: is!.enum }, place);
      if (!same(was!.default, is!.default)) on.note("default-changed", below(place, "default"));
    },
  });
  eachMember(old!.messages, now!.messages, {
    gone: (type) => on.note("event-moved", below(at, "messages", type)),
    come: (type) => on.note("event-added", below(at, "messages", type)),
  });
}

function compareMessage(on: Comparison, type: string): void {
  const at = below("/components/messages", type);
  const [old, now] = [on.before, on.after].map((document) =>
    objectOf(objectOf(objectOf(document.components).messages)[type]),
  );
  if (old!.contentType !== now!.contentType) on.note("media-type-removed", below(at, "contentType"));
  const [was, is] = [follow(on.before, old!.headers, below(at, "headers")), follow(on.after, now!.headers, "")];
  const names = (schema: unknown) => objectOf(objectOf(schema).properties);
  eachMember(names(was.node), names(is.node), {
    gone: (name) => on.note("header-removed", below(was.pointer, "properties", name)),
    come: (name) => on.note("header-added", below(was.pointer, "properties", name)),
    kept: (name) =>
      compareSchemas(on, "reply", names(was.node)[name], names(is.node)[name], below(was.pointer, "properties", name)),
  });
  const must = (schema: unknown) => (objectOf(schema).required ?? []) as string[];
  for (const name of must(was.node))
    if (name in names(is.node) && !must(is.node).includes(name))
      on.note("header-removed", below(was.pointer, "required"));
  compareSchemas(on, "reply", old!.payload, now!.payload, below(at, "payload"));
}
