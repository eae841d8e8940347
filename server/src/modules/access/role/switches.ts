/** The switches of a custom role (access, section 3): read from a body, closed under implication, compared. */
import { isPermission, type Permission, permissions, providerOnly, withImplied } from "#kernel/permissions";
import type { Fault } from "#kernel/problem";
import { permissionsOfLetters } from "../letters.ts";

/** What is `inherit` says nothing, and is not kept. */
export type Switches = Partial<Record<Permission, "allow" | "deny">>;
export type GivenSwitches = {
  permissions?: Partial<Record<string, "allow" | "deny" | "inherit">> | null;
  letters?: string | null;
};

/**
 * The switches that a body means; undefined where it states none. What an allowed permission implies is allowed with it,
 * so nothing implied can be denied. `root`: whether it is a role of the provider.
 */
export function readSwitches(
  { permissions: given, letters }: GivenSwitches,
  root: boolean,
): { switches: Switches | undefined; faults: Fault[] } {
  if (typeof letters === "string") return readLetters(letters, given);
  if (given === undefined) return { switches: undefined, faults: [] };
  const stated = new Map(
    Object.entries(given ?? {}).filter((entry): entry is [Permission, never] => isPermission(entry[0])),
  );
  const allowed = withImplied([...stated].filter(([, value]) => value === "allow").map(([name]) => name));
  const faults = [...allowed].flatMap((name) => {
    const pointer = `/permissions/${name}`;
    if (stated.get(name) === "deny") {
      const message = `Something that is allowed here brings ${name} with it: it cannot be denied.`;
      return [{ pointer, rule: "implied", message }];
    }
    if (root || !providerOnly.has(name)) return [];
    return [{ pointer, rule: "not_supported", message: `${name} is the provider's alone.` }];
  });
  const denied = [...stated].filter(([, value]) => value === "deny").map(([name]) => name);
  return { switches: inOrder(allowed, new Set(denied)), faults };
}

function readLetters(letters: string, given: GivenSwitches["permissions"]) {
  const held = permissionsOfLetters(letters);
  const faults: Fault[] = typeof held === "string" ? [{ pointer: "/letters", rule: "enum", message: held }] : [];
  if (given) {
    const message = "Letters stand in place of permissions: give one of the two.";
    faults.push({ pointer: "/letters", rule: "not_supported", message });
  }
  return { switches: typeof held === "string" ? undefined : inOrder(held, new Set()), faults };
}

/** In the order of the catalogue, so that equal sets are equal as JSON. */
function inOrder(allowed: ReadonlySet<Permission>, denied: ReadonlySet<Permission>): Switches {
  const switches: Switches = {};
  for (const name of permissions) {
    if (allowed.has(name)) switches[name] = "allow";
    else if (denied.has(name)) switches[name] = "deny";
  }
  return switches;
}

/** As stored by whichever release: what this one knows, in its order. */
export function switchesOf(stored: Record<string, string>): Switches {
  const named = (value: string) => new Set(permissions.filter((name) => stored[name] === value));
  return inOrder(withImplied(named("allow")), named("deny"));
}

export function allowedIn(switches: Switches): Set<Permission> {
  return new Set(permissions.filter((name) => switches[name] === "allow"));
}
