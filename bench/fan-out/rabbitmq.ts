/**
 * RabbitMQ's web STOMP, where Debian's package is there (`bench/set-up.sh rabbitmq`): a node of its own in a directory of
 * its own, on loopback, with a port mapper of its own.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { freePort } from "../demarc.ts";
import { type Address, openEar } from "./ear.ts";

const home = "/usr/lib/rabbitmq/lib";
const destination = "/topic/news";

export type RabbitMq = {
  pid: number;
  address: Address;
  /** Publishes so many messages. */
  tell(body: string, messages: number): void;
  stop(): Promise<void>;
};

/** Where RabbitMQ with web STOMP lies; null: it is not installed. */
export function findRabbitMq(): string | null {
  const release = existsSync(home) ? readdirSync(home).find((name) => name.startsWith("rabbitmq_server-")) : undefined;
  if (release === undefined) return null;
  const hasPlugin = readdirSync(join(home, release, "plugins")).some((name) => name.startsWith("rabbitmq_web_stomp-"));
  return hasPlugin ? join(home, release) : null;
}

export async function startRabbitMq(place: string, directory: string): Promise<RabbitMq> {
  const [mapper, amqp, between, stomp, web] = await Promise.all([1, 2, 3, 4, 5].map(() => freePort()));
  mkdirSync(directory, { recursive: true });
  const file = (name: string, text: string) => {
    writeFileSync(join(directory, name), text);
    return join(directory, name);
  };
  const env = {
    PATH: process.env.PATH,
    HOME: directory,
    LANG: "C.UTF-8",
    ERL_EPMD_ADDRESS: "127.0.0.1",
    ERL_EPMD_PORT: String(mapper),
    RABBITMQ_NODENAME: `demarc-bench-${process.pid}@localhost`,
    RABBITMQ_MNESIA_BASE: directory,
    RABBITMQ_LOG_BASE: directory,
    RABBITMQ_DIST_PORT: String(between),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1}",
    RABBITMQ_ENABLED_PLUGINS_FILE: file("enabled_plugins", "[rabbitmq_web_stomp].\n"),
    RABBITMQ_CONFIG_FILE: file(
      "rabbitmq.conf",
      `listeners.tcp.local = 127.0.0.1:${amqp}\nstomp.listeners.tcp.local = 127.0.0.1:${stomp}\nweb_stomp.tcp.listener = 127.0.0.1:${web}\nweb_stomp.ws_opts.idle_timeout = 3600000\n`,
    ),
  };
  const names = spawn("epmd", ["-address", "127.0.0.1", "-port", String(mapper)], { env, stdio: "ignore" });
  const server = spawn(join(place, "sbin", "rabbitmq-server"), { env, stdio: ["ignore", "pipe", "pipe"] });
  process.once("exit", () => {
    server.kill();
    names.kill();
  });
  const stopAll = async () => {
    await end(server);
    await end(names);
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await untilAnswering(web!, server);
    const address: Address = {
      port: web!,
      path: "/ws",
      headers: {},
      hello: [
        "CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\nheart-beat:0,0\n\n\0",
        `SUBSCRIBE\nid:0\ndestination:${destination}\nreceipt:0\n\n\0`,
      ],
      answers: 2,
    };
    const publisher = await openEar({ ...address, hello: address.hello.slice(0, 1), answers: 1 }, () => {});
    return {
      pid: childOf(server.pid!),
      address,
      tell(body, messages) {
        const frame = `SEND\ndestination:${destination}\ncontent-type:application/json\n\n${body}\0`;
        for (let n = 0; n < messages; n++) publisher.send(frame);
      },
      async stop() {
        publisher.end();
        await stopAll();
      },
    };
  } catch (error) {
    await stopAll();
    throw error;
  }
}

/** The script stays, and has the node as its child. */
function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")[0]);
}

async function untilAnswering(port: number, server: ChildProcess): Promise<void> {
  let output = "";
  for (const stream of [server.stdout!, server.stderr!])
    stream.on("data", (chunk) => {
      output += chunk;
    });
  for (;;) {
    const answers = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
    if (answers) return;
    if (server.exitCode !== null) throw new Error(`RabbitMQ did not start:\n${output}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await gone;
}
