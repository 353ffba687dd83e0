// @kubernetes/client-node: objects, an informer, exec, a forwarded port and a log. node node_client.mjs KUBECONFIG POD
import assert from "node:assert";
import net from "node:net";
import { PassThrough, Readable, Writable } from "node:stream";
import * as k8s from "@kubernetes/client-node";

const [file, pod] = process.argv.slice(2);
const config = new k8s.KubeConfig();
config.loadFromFile(file);
const core = config.makeApiClient(k8s.CoreV1Api);

class Collected extends Writable {
  text = "";
  _write(chunk, _encoding, done) {
    this.text += chunk;
    this.emit("said");
    done();
  }
  async until(wanted) {
    while (!this.text.includes(wanted)) await new Promise((resolve) => this.once("said", resolve));
  }
}

async function objects() {
  const list = () => core.listNamespacedConfigMap({ namespace: "default" });
  const informer = k8s.makeInformer(config, "/api/v1/namespaces/default/configmaps", list);
  const seen = [];
  let wake = () => {};
  for (const verb of ["add", "update", "delete"])
    informer.on(verb, (object) => {
      if (object.metadata.name === "client-node") seen.push(verb);
      wake();
    });
  informer.on("error", (error) => error.type === "aborted" || assert.fail(error)); // stop() is one
  await informer.start();
  const until = async (count) => {
    while (seen.length < count) await new Promise((resolve) => (wake = resolve));
  };
  const body = { metadata: { name: "client-node" }, data: { a: "1" } };
  await core.createNamespacedConfigMap({ namespace: "default", body });
  await until(1);
  const made = await core.readNamespacedConfigMap({ name: "client-node", namespace: "default" });
  made.data.a = "2";
  await core.replaceNamespacedConfigMap({ name: "client-node", namespace: "default", body: made });
  await until(2);
  await core.deleteNamespacedConfigMap({ name: "client-node", namespace: "default" });
  await until(3);
  await informer.stop();
  assert.deepStrictEqual(seen, ["add", "update", "delete"]);
}

async function exec() {
  const [out, err] = [new Collected(), new Collected()];
  const command = ["sh", "-c", "cat; echo err >&2; exit 4"];
  const status = await new Promise((resolve, reject) => {
    const input = Readable.from(["from node\n"]);
    new k8s.Exec(config).exec("default", pod, "main", command, out, err, input, false, resolve).catch(reject);
  });
  assert.strictEqual(out.text, "from node\n");
  assert.strictEqual(err.text, "err\n");
  assert.strictEqual(status.details.causes[0].message, "4");
}

async function ports() {
  const forward = new k8s.PortForward(config);
  const server = net.createServer((socket) => forward.portForward("default", pod, [8080], socket, null, socket));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const peer = net.connect(server.address().port, "127.0.0.1");
  peer.write("hello\n");
  const answer = await new Promise((resolve) => peer.once("data", resolve));
  assert.strictEqual(answer.toString(), "HELLO\n");
  peer.destroy();
  server.close();
}

async function logs() {
  const out = new Collected();
  const attached = new Collected();
  const input = new PassThrough();
  const socket = await new k8s.Attach(config).attach("default", pod, "reader", attached, null, input, false);
  const controller = await new k8s.Log(config).log("default", pod, "reader", out, { follow: true });
  input.write("client-node\n");
  await Promise.all([attached.until("got client-node"), out.until("got client-node")]);
  controller.abort();
  socket.close();
}

for (const step of [objects, exec, ports, logs]) {
  await step();
  console.log("ok", step.name);
}
process.exit(0);
