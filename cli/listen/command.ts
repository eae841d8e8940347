/** The command `listen`: a reference receiver of news. Published interfaces only. */
import { Command, Option } from "commander";
import { readCredential } from "./credential.ts";
import { exitCode, Stop } from "./faults.ts";
import { type Given, readOptions } from "./options.ts";
import { openPlace, placeOnServer } from "./place.ts";
import { receive } from "./receive.ts";

const help = `
The credential comes from the environment, never from an option:
  DEMARC_CLIENT_ID and DEMARC_CLIENT_SECRET   of a client; a token is fetched before every connection
  DEMARC_TOKEN_URL                            where, if not at <url>/oauth/token
  DEMARC_API_KEY, or DEMARC_TOKEN             a key, or a token that you have

Exit codes: 0 a signal came or --count is reached, 2 usage (or another receiver has the place), 3 the credential was
refused three times, 4 the destination was refused, 5 the log no longer keeps the place, 6 gave up forwarding.`;

/** The command under a name: it is also a program of its own. Ends the process. */
export function listenCommand(name: string): Command {
  return new Command(name)
    .description("Print every event as it happens, go on after every break, forward as webhooks come.")
    .addOption(new Option("--url <url>", "the server").env("DEMARC_URL").default("http://localhost:8080"))
    .option("--version <label>", "the version in which events come", "v1")
    .option("--destination <destination>", "what to hear: a topic, or a queue to share", "/topic/event")
    .option("--types <patterns>", "types of events, as demarc.directory.*,demarc.monitoring.watch.created")
    .option("--tenant <tenant>", "id or code of the tenant to act in")
    .option("--below", "also the events of the tenants below")
    .option("--durable <name>", "let the server keep the place, under this name")
    .option("--cursor-file <file>", "keep the place here (.demarc-cursor, if not --durable)")
    .option("--from <place>", "where the first run starts: now (if not said), start, an instant, a cursor")
    .addOption(new Option("--transport <transport>", "the way").choices(["stomp", "stream", "poll"]).default("stomp"))
    .option("--forward <url>", "POST each event there, signed, as a webhook would come")
    .option("--secret <whsec>", "what signs them; one is made and shown if not given")
    .option("--give-up <minutes>", "end when an event could not be forwarded for so long (never)")
    .addOption(new Option("--format <format>", "a line an event").choices(["json", "pretty"]).default("json"))
    .option("--count <n>", "end after so many events")
    .option("--quiet", "say nothing but why it ends")
    .addHelpText("after", help)
    .exitOverride(({ exitCode: code }) => process.exit(code === 0 ? exitCode.done : exitCode.usage))
    .action(async (given: Given) => process.exit(await run(given)));
}

/** Runs the command to its end; gives its exit code. */
async function run(given: Given): Promise<number> {
  const stop = new AbortController();
  const tell = (words: string) => void process.stderr.write(`${words}\n`);
  const say = given.quiet ? () => {} : tell;
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, () => {
      say("Ending, as soon as the event at hand is finished. A second signal ends at once.");
      stop.abort();
    });
  process.stdout.on("error", () => {});
  if (typeof WebSocket === "undefined") {
    tell("demarc listen needs Node 22 or newer.");
    return exitCode.usage;
  }
  try {
    const options = readOptions(given);
    if (options.isSecretNew) tell(`The secret that signs what is forwarded: ${options.forward?.secret}`);
    const credential = readCredential(process.env, options.url);
    const place = options.keeps.in === "file" ? await openPlace(options.keeps.file) : placeOnServer();
    await receive({ options, credential, place, stop: stop.signal, print, say });
    return exitCode.done;
  } catch (error) {
    // Whoever read the lines has enough of them, as `head` has.
    if ((error as NodeJS.ErrnoException).code === "EPIPE") return exitCode.done;
    tell(error instanceof Stop ? error.message : String((error as Error).stack));
    return error instanceof Stop ? error.exitCode : 1;
  }
}

function print(line: string): Promise<void> {
  return new Promise((done, fail) => process.stdout.write(`${line}\n`, (error) => (error ? fail(error) : done())));
}
