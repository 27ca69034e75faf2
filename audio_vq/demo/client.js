// Gradio's queue, as this page needs it: a call joins the queue, and its news come over one stream of events.

const FAULT = "something went wrong on the server";

export class Client {
  constructor(functions) {
    this.functions = functions;
    this.session = crypto.getRandomValues(new Uint32Array(4)).join("-");
    this.pending = new Map(); // by event
    this.early = new Map(); // what came before the event's number did
    this.source = null;
    this.heartbeat = new EventSource(`gradio_api/heartbeat/${this.session}`); // keeps the session while the page is open
  }

  async upload(blob) {
    const form = new FormData();
    form.append("files", blob, "recording"); // the name stays here
    const response = await fetch("gradio_api/upload", { method: "POST", body: form });
    if (!response.ok) throw new Error((await response.text()).slice(0, 200) || FAULT);
    const [path] = await response.json();
    return { path, orig_name: "recording", meta: { _type: "gradio.FileData" } };
  }

  // Resolves with the first result; `step` gets each one on the way, `wait` how many are before this call.
  async call(name, data, { step = () => {}, wait = () => {}, signal = null } = {}) {
    const body = { data, fn_index: this.functions[name], session_hash: this.session, event_data: null, trigger_id: null };
    const headers = { "Content-Type": "application/json" };
    const response = await fetch("gradio_api/queue/join", { method: "POST", headers, body: JSON.stringify(body), signal });
    if (response.status === 503) throw new Error("many people are waiting already; try again in a minute");
    if (!response.ok) throw new Error(response.status === 413 ? await response.text() : FAULT);
    const { event_id: event } = await response.json();
    return new Promise((resolve, reject) => {
      this.pending.set(event, { resolve, reject, step, wait, last: null });
      signal?.addEventListener("abort", () => this.cancel(event, body.fn_index));
      if (signal?.aborted) this.cancel(event, body.fn_index);
      for (const message of this.early.get(event) ?? []) this.take(message);
      this.early.delete(event);
      this.listen();
    });
  }

  cancel(event, fn_index) {
    const call = this.pending.get(event);
    if (!call) return;
    this.pending.delete(event);
    const body = JSON.stringify({ session_hash: this.session, event_id: event, fn_index });
    fetch("gradio_api/cancel", { method: "POST", headers: { "Content-Type": "application/json" }, body }).catch(() => {});
    call.reject(new DOMException("stopped", "AbortError"));
  }

  listen() {
    if (this.source || !this.pending.size) return;
    this.source = new EventSource(`gradio_api/queue/data?session_hash=${this.session}`);
    this.source.onmessage = ({ data }) => this.take(JSON.parse(data));
    this.source.onerror = () => {
      this.close();
      for (const call of this.pending.values()) call.reject(new Error("the server does not answer; is it still running?"));
      this.pending.clear();
    };
  }

  close() {
    this.source?.close();
    this.source = null;
  }

  take(message) {
    if (message.msg === "close_stream") {
      this.close();
      this.listen(); // a call may have begun meanwhile
      return;
    }
    if (message.msg === "unexpected_error" && !message.event_id) return this.source?.onerror();
    if (!message.event_id) return;
    const call = this.pending.get(message.event_id);
    if (!call) {
      this.early.set(message.event_id, [...(this.early.get(message.event_id) ?? []), message]);
      if (this.early.size > 20) this.early.delete(this.early.keys().next().value);
      return;
    }
    if (message.msg === "estimation") call.wait(message.rank ?? 0);
    if (message.msg === "process_starts") call.wait(null);
    if (message.msg === "process_generating" && message.success) {
      call.last = call.last ? message.output.data.map((edits, i) => changed(call.last[i], edits)) : message.output.data;
      call.step(call.last[0]);
    }
    if (message.msg === "unexpected_error" || (message.msg === "process_completed" && !message.success)) {
      this.pending.delete(message.event_id);
      call.reject(new Error(message.output?.error ?? message.message ?? FAULT));
    } else if (message.msg === "process_completed") {
      this.pending.delete(message.event_id);
      call.resolve(call.last ? call.last[0] : message.output.data?.[0]);
    }
  }
}

// Gradio sends how a result differs from the one before.
function changed(value, edits) {
  const root = { value: structuredClone(value) };
  for (const [what, path, content] of edits) {
    const keys = ["value", ...path];
    const last = keys.pop();
    const parent = keys.reduce((object, key) => object[key], root);
    if (what === "delete") Array.isArray(parent) ? parent.splice(last, 1) : delete parent[last];
    else if (what === "append") parent[last] += content;
    else if (what === "add" && Array.isArray(parent)) parent.splice(last, 0, content);
    else parent[last] = content;
  }
  return root.value;
}
