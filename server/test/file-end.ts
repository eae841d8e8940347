/** What stands until the end of a test file: started within it, ended after its last test, the youngest first. */
const ends: (() => Promise<void>)[] = [];

export function atFileEnd(end: () => Promise<void>): void {
  ends.unshift(end);
}

export async function endFile(): Promise<void> {
  const failures: unknown[] = [];
  // Whatever fails, nothing stays open that would keep the process.
  for (let end = ends.shift(); end; end = ends.shift()) await end().catch((error) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}
