/** A mail server for tests, independent of what sends: it keeps what it takes. */
import { after } from "node:test";
import { SMTPServer } from "smtp-server";

export type Mail = { from: string; to: string[]; raw: string; headers: Map<string, string>; link: string };

/** Starts a mail server that wants this log-in. `refuse` decides per recipient: an SMTP status, or null to take it. */
export async function startMailbox(refuse: (address: string) => number | null = () => null) {
  const mails: Mail[] = [];
  const login = { user: "demarc", pass: "s@cret/1" };
  const server = new SMTPServer({
    disabledCommands: ["STARTTLS"],
    allowInsecureAuth: true,
    logger: false,
    onAuth({ username, password }, _session, done) {
      if (username === login.user && password === login.pass) done(null, { user: username });
      else done(new Error("Wrong log-in"));
    },
    onRcptTo({ address }, _session, done) {
      const status = refuse(address);
      done(status === null ? null : Object.assign(new Error("Refused"), { responseCode: status }));
    },
    onData(stream, session, done) {
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", () => {
        const { mailFrom, rcptTo } = session.envelope;
        const to = rcptTo.map(({ address }) => address);
        mails.push(readMail(mailFrom ? mailFrom.address : "", to, Buffer.concat(chunks).toString()));
        done();
      });
    },
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.server.address() as { port: number };
  after(() => new Promise<void>((resolve) => server.close(resolve)));
  const url = `smtp://${login.user}:${encodeURIComponent(login.pass)}@127.0.0.1:${port}`;
  return { url, mails, to: (address: string) => mails.filter((mail) => mail.to.includes(address)) };
}

/** A mail as it went over the wire; its first link, from quoted-printable. */
export function readMail(from: string, to: string[], raw: string): Mail {
  const text = raw.replaceAll("\r\n", "\n");
  const head = text.slice(0, text.indexOf("\n\n")).replaceAll(/\n[ \t]+/g, " ");
  const headers = new Map(
    head.split("\n").map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 2)]),
  );
  const plain = text
    .replaceAll("=\n", "")
    .replaceAll(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  return { from, to, raw: plain, headers, link: /https?:\/\/\S+\?token=[\w-]{43}/.exec(plain)?.[0] ?? "" };
}
