import type { TSchema } from "typebox";
import type { Permission, Service } from "./permissions.ts";

/**
 * A type of event (notifications, part A). `type` is `demarc.<service>.<noun>.<past tense>`; whoever lacks `permission`
 * never sees one. `resource` is the schema of what GET answers at the newest version.
 */
export type EventKind<D extends object = object> = {
  readonly type: string;
  readonly service: Service;
  readonly noun: string;
  readonly permission: Permission;
  readonly summary: string;
  readonly resource: TSchema;
  /** Members that this type adds to the common shape of `data`. */
  readonly adds?: Record<string, TSchema>;
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

/** Declares a type of event. `name` is `<noun>.<past tense>`; a second declaration of a type is refused. */
export function event<D extends object = Record<never, never>>(
  service: Service,
  name: string,
  about: Pick<EventKind, "permission" | "summary" | "resource" | "adds">,
): EventKind<D> {
  const type = `demarc.${service}.${name}`;
  if (!/^[a-z_]+\.[a-z_]+$/.test(name)) throw new Error(`${type} is not <noun>.<past tense>.`);
  if (declared.has(type)) throw new Error(`The event ${type} is declared twice.`);
  const kind: EventKind<D> = { type, service, noun: name.slice(0, name.indexOf(".")), ...about };
  declared.set(type, kind as EventKind);
  return kind;
}

/** All types declared by the code loaded so far, by name. */
export function declaredEvents(): EventKind[] {
  return [...declared.values()].sort((a, b) => (a.type < b.type ? -1 : 1));
}
