import type { RawBuilder } from "kysely";
import type { TSchema } from "typebox";
import type { Permission, Service } from "./permissions.ts";
import type { Principal } from "./principal.ts";

/**
 * A type of event (notifications, part A). `type` is `demarc.<service>.<noun>.<past tense>`; whoever lacks `permission`
 * never sees one. `resource` is the schema of what GET answers at the newest version.
 */
export type EventKind<D extends object = object> = {
  readonly type: string;
  readonly service: Service;
  readonly noun: string;
  readonly permission: Permission;
  /** The version it came with; readers of an older one are not told of it. */
  readonly since: string;
  readonly summary: string;
  readonly resource: TSchema;
  /** Members that this type adds to the common shape of `data`. */
  readonly adds?: Record<string, TSchema>;
  /**
   * Which events a caller may see, where the permission at the event's tenant does not say it: a condition on
   * `kernel.event as e`, evaluated in the statement that reads them. It stands in place of the permission.
   */
  readonly visible?: (who: Principal) => RawBuilder<boolean>;
  /** The resource with the links in it below a label (`/v1`), where it has any: they are told without one. */
  readonly linked?: (resource: Record<string, unknown>, prefix: string) => Record<string, unknown>;
  /** Whether a caller who sees the event may see all of the resource as the event has it; others get it trimmed. */
  readonly isWholeFor?: (who: Principal) => boolean;
  readonly data?: D;
};

/** What a change tells. `resource` is null after a removal; `previous` has old values of changed fields only, or null. */
export type EventNews<D extends object = object> = {
  /** The tenant that owns the thing, not the one that acts. */
  tenantId: string;
  subject: string;
  /** Path of the resource below the label, such as `/watch/wch_...`. */
  path: string;
  resource: object | null;
  previous: object | null;
  /** Names of the fields that changed; empty where the resource was made or removed. */
  changed: readonly string[];
  ownerId?: string;
} & ([keyof D] extends [never] ? { adds?: undefined } : { adds: D });

const declared = new Map<string, EventKind>();
type About = Pick<EventKind, "permission" | "summary" | "resource" | "adds" | "visible" | "isWholeFor" | "linked"> & {
  since?: string;
};

/** Declares a type of event. `name` is `<noun>.<past tense>`; a second declaration of a type is refused. */
export function event<D extends object = Record<never, never>>(
  service: Service,
  name: string,
  about: About,
): EventKind<D> {
  const type = `demarc.${service}.${name}`;
  if (!/^[a-z_]+\.[a-z_]+$/.test(name)) throw new Error(`${type} is not <noun>.<past tense>.`);
  if (declared.has(type)) throw new Error(`The event ${type} is declared twice.`);
  const kind: EventKind<D> = { type, service, noun: name.slice(0, name.indexOf(".")), since: "v1", ...about };
  declared.set(type, kind as EventKind);
  return kind;
}

/** All types declared by the code loaded so far, by name. */
export function declaredEvents(): EventKind[] {
  return [...declared.values()].sort((a, b) => (a.type < b.type ? -1 : 1));
}

/** A type by its name; undefined for one that this release does not know. */
export function eventKind(type: string): EventKind | undefined {
  return declared.get(type);
}
