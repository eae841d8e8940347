/** What of two lists of security schemes differs for whoever authenticates by one of the first. */
import { below, type Comparison, eachMember, type Json, objectOf, same } from "./breaking-rules.ts";

export function compareSchemes(on: Comparison, before: unknown, after: unknown, at: string): void {
  eachMember(before, after, {
    gone: (name) => on.note("authentication-ended", below(at, name)),
    come: (name) => on.note("authentication-added", below(at, name)),
    kept: (name) => {
      const [old, now] = [objectOf(objectOf(before)[name]), objectOf(objectOf(after)[name])];
      for (const word of ["type", "in", "name", "scheme", "openIdConnectUrl"])
        if (!same(old[word], now[word])) on.note("authentication-ended", below(at, name, word));
      compareFlows(on, objectOf(old.flows), objectOf(now.flows), below(at, name, "flows"));
    },
  });
}

function compareFlows(on: Comparison, before: Json, after: Json, at: string): void {
  eachMember(before, after, {
    gone: (flow) => on.note("authentication-ended", below(at, flow)),
    come: (flow) => on.note("authentication-added", below(at, flow)),
    kept: (flow) => {
      const [old, now] = [objectOf(before[flow]), objectOf(after[flow])];
      for (const word of ["tokenUrl", "authorizationUrl", "refreshUrl"])
        if (!same(old[word], now[word])) on.note("authentication-ended", below(at, flow, word));
      // AsyncAPI says availableScopes.
      const word = "availableScopes" in old ? "availableScopes" : "scopes";
      const wanted = Object.keys(objectOf(old[word])).filter((scope) => !(scope in objectOf(now[word])));
      for (const scope of wanted) on.note("permission-required", below(at, flow, word, scope));
    },
  });
}
