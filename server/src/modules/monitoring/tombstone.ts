/** What is left of a removed folder, location or watch for 24 months (monitoring, 2.4). */
import { type TSchema, Type } from "typebox";
import { id, instant, object } from "#kernel/schema";

/** The schema of a tombstone; `parent` is the member that says where the thing was, such as `folderId`. */
export function tombstoneOf<const N extends string, const P extends string>(
  title: N,
  prefix: string,
  parent: P,
  parentSchema: TSchema,
) {
  return object(
    {
      id: id(prefix),
      numericId: Type.Integer({ minimum: 1, maximum: 2_147_483_647 }),
      tenantId: id("tnt"),
      [parent]: parentSchema,
      name: Type.String(),
      status: Type.Literal("deleted"),
      deletedAt: instant,
      deletedBy: Type.String(),
      changedAt: instant,
    },
    { title },
  );
}

type Removed = {
  id: string;
  numeric_id: number;
  tenant_id: string;
  name: string;
  deleted_at: Date | null;
  deleted_by: string | null;
  changed_at: Date;
};

/** The tombstone of a removed row; `parent` as the caller may see it. */
export function tombstone<P extends Record<string, string | null>>(row: Removed, parent: P) {
  return {
    id: row.id,
    numericId: row.numeric_id,
    tenantId: row.tenant_id,
    ...parent,
    name: row.name,
    status: "deleted" as const,
    deletedAt: row.deleted_at!.toISOString(),
    deletedBy: row.deleted_by!,
    changedAt: row.changed_at.toISOString(),
  };
}
