import pg from "pg";

type Layout = { fields: object[]; _parsers: unknown[] | undefined; _prebuiltEmptyResultObject: object | null };
type Connection = { describe(what: object): void };
type Answer = (error: Error | null, result: pg.QueryResult) => void;
/** What node-postgres (8.23) has and its types leave out. */
type Base = {
  name: string;
  values: readonly unknown[];
  callback: Answer;
  _result: Layout;
  _accumulateRows: boolean;
  prepare(connection: Connection): void;
  handleCommandComplete(message: object, connection: Connection): void;
};
const Base = pg.Query as unknown as new (text: string) => Base;

/** Per connection: the layouts of what its statements give, by their names, and the connection that does not ask for them. */
type Known = { layouts: Map<string, Layout>; silent: Connection };
const known = new WeakMap<Connection, Known>();

function knownOf(connection: Connection): Known {
  let entry = known.get(connection);
  if (!entry) {
    entry = { layouts: new Map(), silent: Object.create(connection, { describe: { value: () => {} } }) };
    known.set(connection, entry);
  }
  return entry;
}

/**
 * A named statement whose rows are described once a connection. node-postgres asks for the description with every
 * execution and makes its parsers anew from it, which costs more than a point read's one row does. A layout stays true:
 * PostgreSQL refuses to run a prepared statement whose result would have another one by now.
 */
export class PreparedQuery extends Base {
  constructor(text: string, name: string, values: readonly unknown[], answer: Answer) {
    super(text);
    this.name = name;
    this.values = values;
    this.callback = answer;
  }

  override prepare(connection: Connection): void {
    const { layouts, silent } = knownOf(connection);
    const layout = layouts.get(this.name);
    if (layout) {
      Object.assign(this._result, layout);
      this._accumulateRows = true;
    }
    super.prepare(layout ? silent : connection);
  }

  override handleCommandComplete(message: object, connection: Connection): void {
    super.handleCommandComplete(message, connection);
    const { fields, _parsers, _prebuiltEmptyResultObject } = this._result;
    const { layouts } = knownOf(connection);
    if (!layouts.has(this.name)) layouts.set(this.name, { fields, _parsers, _prebuiltEmptyResultObject });
  }
}
