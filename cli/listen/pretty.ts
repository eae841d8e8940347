/** An event as a line for people. */

type Event = {
  type: string;
  subject: string;
  time: string;
  sequence: string;
  data: { changed?: string[]; actor?: { kind: string; id: string } };
};

export function prettyLine(text: string): string {
  const { type, subject, time, sequence, data } = JSON.parse(text) as Event;
  const changed = data.changed?.length ? ` (${data.changed.join(", ")})` : "";
  const actor = data.actor ? ` by ${data.actor.kind} ${data.actor.id}` : "";
  const line = `${time} #${Number(sequence)} ${type} ${subject}${changed}${actor}`;
  // Whatever an event says, it shall not steer a terminal.
  return line.replaceAll(/\p{Cc}/gu, " ");
}
