// The console's page. It asks the server that sent it, with the token of the address that `turntable console` printed, and
// shows the answers. All texts become text nodes, so that no name can become code.

const MAIN = document.getElementById("main");
const DIALOG = document.getElementById("dialog");
const MAX_STEPS = 14;
const STALE_AFTER = 3;

// ---- Elements ----

function h(name, attributes, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function svg(name, attributes, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

// ---- Numbers and times ----

const number = (value) => (value ?? null) === null ? "–" : value.toLocaleString("en-US");

function size(bytes) {
  if ((bytes ?? null) === null) return "–";
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  const at = Math.min(units.length - 1, bytes > 0 ? Math.floor(Math.log10(bytes) / 3) : 0);
  return `${at === 0 ? bytes : (bytes / 1000 ** at).toFixed(1)} ${units[at]}`;
}

/// Formats seconds in the two largest units, as the command line does.
function duration(seconds) {
  const all = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [Math.floor(all / 86400), Math.floor(all / 3600) % 24, Math.floor(all / 60) % 60];
  if (days) return `${days}d ${hours}h`;
  if (hours) return `${hours}h ${minutes}m`;
  return minutes ? `${minutes}m ${all % 60}s` : `${all}s`;
}

const moment = (at) => `${at.slice(0, 10)} ${at.slice(11, 19)}Z`;
const seconds = (at) => Date.parse(at) / 1000;

// The stack's clock may differ from this machine's.
let skew = 0;
const now = () => Date.now() / 1000 + skew;

/// An element that says how long ago a time was, and goes on saying it.
const ago = (at) => at ? h("time", { datetime: at, title: moment(at), "data-ago": at }, since(at)) : "–";
const since = (at) => seconds(at) > now() ? `in ${duration(seconds(at) - now())}` : `${duration(now() - seconds(at))} ago`;

const colour = (generation) => String(generation).startsWith("blue-") ? "blue" : String(generation).startsWith("green-") ? "green" : "other";
const brief = (generation) => /^(blue|green)-/.test(generation) ? `${colour(generation)}-…${generation.slice(-6)}` : generation;

// ---- The server ----

const TOKEN = (() => {
  const given = /^#token=([0-9a-z]+)$/.exec(location.hash);
  if (given) {
    sessionStorage.setItem("token", given[1]);
    history.replaceState(null, "", "/#/");
  }
  return sessionStorage.getItem("token") ?? "";
})();

const known = new Map();

/// Asks for data. Returns what is known already if nothing has changed.
async function ask(path) {
  const before = known.get(path);
  const headers = { authorization: `Bearer ${TOKEN}` };
  if (before) headers["if-none-match"] = before.tag;
  const response = await fetch(path, { headers, cache: "no-store" });
  if (response.status === 304) return before.data;
  const data = await read(response);
  known.set(path, { tag: response.headers.get("etag"), data });
  if (data.at) skew = seconds(data.at) - Date.now() / 1000;
  return data;
}

async function send(path, body) {
  const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" };
  return read(await fetch(path, { method: "POST", headers, body: JSON.stringify(body), cache: "no-store" }));
}

async function read(response) {
  const data = await response.json().catch(() => ({ error: `the console answered with status ${response.status}` }));
  if (!response.ok) throw new Error(data.error ?? `the console answered with status ${response.status}`);
  return data;
}

// ---- Parts that several views have ----

const say = (text) => { document.getElementById("said").textContent = text; };
const badge = (text, kind) => h("span", { class: `badge ${kind}` }, text);
const link = (name) => h("a", { href: `#/datasets/${encodeURIComponent(name)}` }, name);
const links = (names) => names?.length ? names.map((name, at) => [at ? ", " : "", link(name)]) : "none";
const facts = (rows) => h("dl", { class: "facts" }, rows.filter(([, value]) => value !== undefined && value !== null && value !== "")
  .map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
const id = (generation) => h("span", { class: "id", title: generation }, generation ?? "no table");

function table(caption, heads, rows) {
  const cell = (value, at) => at === 0
    ? h("th", { scope: "row" }, value)
    : h("td", { "data-label": heads[at][0] || null, class: heads[at][1] }, value);
  return h("table", { class: "stack" }, h("caption", {}, caption),
    h("thead", {}, h("tr", {}, heads.map(([name, kind]) => h("th", { scope: "col", class: kind }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell)))));
}

/// What the state of a dataset is called, and how bad it is: as `turntable status` says it.
function state(one) {
  if (one.error) return ["error", "bad"];
  if (one.damaged) return ["damaged", "bad"];
  if (one.unflip || one.edited) return ["drift", "bad"];
  if (one.unfinished) return ["flipping", "warn"];
  if (one.hold) return ["held", "warn"];
  if (one.rejected) return ["rejected", "bad"];
  if (one.failed_export) return one.failed_export.retry_at ? ["export is retried", "warn"] : ["export failed", "bad"];
  if (one.waits) return ["candidate waits", "warn"];
  if (!one.live) return ["no table yet", "plain"];
  return one.refresh?.running_since ? ["exporting", "plain"] : ["fresh", "good"];
}

const subject = (condition) => condition.id.slice(condition.id.indexOf(":") + 1);

function conditions(found, datasets) {
  if (!found.length) return h("p", { class: "calm" }, "✓ Nothing needs attention.");
  return h("ul", { class: "plain conditions" }, found.map((one) => {
    const about = datasets.find((dataset) => dataset.dataset === subject(one));
    return h("li", {}, h("strong", {}, "⚠ ", one.id), one.since && [", ", ago(one.since)],
      h("p", {}, one.message),
      h("p", { class: "note" }, about && [link(about.dataset), " · "], "see ", h("code", {}, one.runbook)));
  }));
}

/// A dataset's age against its interval, as text and as a bar.
function age(one) {
  if (!one.as_of) return "–";
  const interval = one.configured?.interval_seconds;
  if (!interval) return ago(one.as_of);
  const passed = now() - seconds(one.as_of);
  const part = Math.min(1, passed / interval);
  return [ago(one.as_of), `, refreshed every ${duration(interval).replace(/ 0[hms]$/, "")}`, passed > 2 * interval && [" ", badge("late", "warn")],
    svg("svg", { class: passed > 2 * interval ? "bar over" : "bar", width: 120, height: 5, "aria-hidden": true },
      svg("rect", { class: "full", width: 120, height: 5, rx: 2 }), svg("rect", { class: "part", width: 120 * part, height: 5, rx: 2 }))];
}

const refreshed = (one) => one.refresh?.running_since ? ["exporting since ", ago(one.refresh.running_since)]
  : one.refresh?.next ? ago(one.refresh.next)
  : one.refresh?.waits ? one.refresh.waits : one.configured?.refresh ?? "–";

// ---- Overview ----

async function overview() {
  const data = await ask("/api/overview");
  const groups = Object.entries(data.groups ?? {});
  const byName = new Map(data.datasets.map((one) => [one.dataset, one]));
  return { title: "Overview", data, render: () => [
    h("h1", {}, "Overview"),
    data.configuration_error && h("p", { class: "trouble", role: "alert" }, "The configuration can't be read: ", data.configuration_error),
    h("section", { "aria-labelledby": "needs" }, h("h2", { id: "needs" }, "Needs attention"), conditions(data.conditions ?? [], data.datasets)),
    h("section", { "aria-labelledby": "datasets" }, h("h2", { id: "datasets" }, "Datasets"),
      table(`${number(data.datasets.length)} datasets, with the age of their data and the next refresh`,
        [["dataset"], ["state"], ["age"], ["rows", "number"], ["next refresh"], ["live"]],
        data.datasets.map((one) => [link(one.dataset), badge(...state(one)), age(one), number(one.rows), refreshed(one), id(one.live)]))),
    h("section", { "aria-labelledby": "groups" }, h("h2", { id: "groups" }, "Groups"),
      groups.length ? table("Datasets that go live together", [["group"], ["members"], ["state"]], groups.map(([name, members]) => {
        const states = members.map((member) => byName.get(member)).filter(Boolean).map(state);
        const worst = states.find(([, kind]) => kind === "bad") ?? states.find(([, kind]) => kind === "warn") ?? states[0];
        return [name, links(members), worst ? badge(...worst) : "–"];
      })) : h("p", { class: "note" }, "No datasets flip together.")),
    data.dead_letters?.length ? h("section", {}, h("h2", {}, "Dead letters"),
      table("Messages that no function could handle", [["function"], ["messages", "number"]],
        data.dead_letters.map((one) => [one.function, number(one.messages)]))) : null,
  ] };
}

// ---- One dataset ----

async function dataset(name) {
  const [data, all] = await Promise.all([ask(`/api/datasets/${encodeURIComponent(name)}`), ask("/api/overview")]);
  const { status } = data;
  const summary = all.datasets.find((one) => one.dataset === name) ?? { dataset: name };
  const found = (all.conditions ?? []).filter((one) => subject(one) === name);
  const configured = data.configured ?? summary.configured ?? {};
  const live = status.generations?.find((one) => one.live);
  const records = new Map((data.records ?? []).map((one) => [one.generation, one]));
  return { title: name, data: [data, all], render: () => [
    h("h1", {}, name, " ", badge(...state(summary))),
    data.records_error && h("p", { class: "trouble" }, "The records in the bucket can't be read: ", data.records_error),
    conditions(found, []),
    toolbar(status, summary),
    facts([
      ["live", status.live ? id(status.live) : "no table"],
      ["rows", live && number(live.rows)],
      ["data as of", live && [moment(live.as_of), ", ", age(summary)]],
      ["went live", live?.flipped && [moment(live.flipped.at), ` by ${live.flipped.by}`, live.flipped.why && `: ${live.flipped.why}`]],
      ["held", hold(status) && [`since ${moment(hold(status).at)}: `, hold(status).reason]],
      ["next refresh", refreshed({ ...summary, configured })],
      ["refresh", configured.refresh],
      ["table", configured.table && h("code", {}, configured.table)],
      ["source", configured.source],
      ["group", status.group && [status.group.name, ": ", links(Object.keys(status.group.live ?? {}))]],
      ["inputs", configured.inputs?.length ? inputs(configured.inputs, status.built_from ?? {}) : null],
      ["dependants", configured.dependants && links(configured.dependants)],
      ["protected by", configured.protected_by?.length ? links(configured.protected_by) : null],
      ["protects", configured.protects?.length ? links(configured.protects) : null],
    ]),
    h("section", { "aria-labelledby": "timeline" }, h("h2", { id: "timeline" }, "Timeline"), timeline(status, data, records)),
    h("section", { "aria-labelledby": "generations" }, h("h2", { id: "generations" }, "Generations"), generations(status, records)),
    h("section", { "aria-labelledby": "sizes" }, h("h2", { id: "sizes" }, "Rows and bytes"), charts(status.generations ?? [])),
    h("section", { "aria-labelledby": "columns" }, h("h2", { id: "columns" }, "Columns"), columns(status, records)),
    h("section", { "aria-labelledby": "sweep" }, h("h2", { id: "sweep" }, "Next sweep"), sweep(status.next_sweep ?? {})),
  ] };
}

const hold = (status) => [status.hold, status.group?.record?.hold].find((one) => one && !one.released);
const inputs = (names, builtFrom) => names.map((name, at) => [at ? ", " : "", link(name), builtFrom[name] && [" (built from ", id(builtFrom[name]), ")"]]);

function audit(one, record) {
  const canary = one.flipped?.canary;
  const more = canary === "passed" ? "; its canary passed" : canary === "pending" ? "; its canary has not run yet" : "";
  if (record?.verdict) return [badge("rejected", "bad"), ` ${moment(record.verdict.at)}`, h("ul", {}, record.verdict.reasons.map((why) => h("li", {}, why)))];
  if (one.state === "candidate") return badge("not audited yet", "plain");
  return [badge("passed", "good"), more];
}

function generations(status, records) {
  const known = status.generations ?? [];
  if (!known.length) return h("p", { class: "note" }, "No complete generation.");
  const fates = new Map((status.next_sweep?.deletes ?? []).map((one) => [one.generation, one.reason]));
  const acts = about.allows_actions && !status.inbox;
  const heads = [["generation"], ["state"], ["rows", "number"], ["size", "number"], ["data as of"], ["went live"], ["audit"]];
  if (acts) heads.push([""]);
  return table("Complete generations, newest first", heads, known.map((one) => {
    const row = [id(one.generation), [badge(one.state, one.live ? "good" : "plain"), fates.has(one.generation) && [" ", badge("to be swept", "warn")]],
      number(one.rows), size(one.bytes), moment(one.as_of),
      one.flipped ? [moment(one.flipped.at), ` by ${one.flipped.by}`, one.flipped.why && `: ${one.flipped.why}`] : "",
      audit(one, records.get(one.generation))];
    if (acts) {
      const action = one.state === "replaced" ? "rollback" : "flip";
      row.push(one.live ? "" : h("button", { type: "button", id: `act-${one.generation}`, "aria-label": `Make ${one.generation} live`,
        onclick: () => open({ action, dataset: status.dataset, generation: one.generation }, action === "flip" ? "Make live" : "Roll back") },
      one.state === "replaced" ? "Roll back to it" : "Make live"));
    }
    return row;
  }));
}

/// The events of a dataset, oldest first.
function events(status, data, records) {
  const known = status.generations ?? [];
  const flips = data.flips?.length ? data.flips
    : known.filter((one) => one.flipped).map((one) => ({ ...one.flipped, to: one.generation }));
  const found = flips.map((one) => ({ at: one.at, kind: one.by === "event" || one.by === "operator" || one.by === "recovered" ? "flip" : "back", to: one.to, by: one.by, why: one.why }));
  for (const one of known) {
    const verdict = records.get(one.generation)?.verdict;
    if (verdict) found.push({ at: verdict.at, kind: "rejected", to: one.generation, why: verdict.reasons.join("; ") });
    else if (one.state === "candidate") found.push({ at: one.as_of, kind: "candidate", to: one.generation });
  }
  const held = hold(status);
  if (held) found.push({ at: held.at, kind: "held", why: held.reason });
  return found.sort((one, other) => seconds(one.at) - seconds(other.at));
}

const EVENTS = { flip: ["▲", "went live"], back: ["↶", "back to"], rejected: ["✕", "rejected"], candidate: ["○", "candidate"], held: ["‖", "held"] };

/// Draws which generation was live between which events. Each step between events is equally wide.
function timeline(status, data, records) {
  const all = events(status, data, records);
  if (!all.length) return h("p", { class: "note" }, "Nothing has happened yet.");
  const width = Math.max(280, Math.min(1080, MAIN.clientWidth - 60));
  const shown = all.slice(-Math.max(3, Math.min(MAX_STEPS, Math.floor((width - 60) / 72))));
  const step = (width - 60) / shown.length;
  const x = (at) => 56 + at * step;
  const lanes = { blue: 48, green: 84, other: 84 };
  const swept = new Set((status.next_sweep?.deletes ?? []).map((one) => one.generation));
  const drawn = [];
  for (const [name, y] of [["blue", 48], ["green", 84]]) {
    drawn.push(svg("text", { x: 0, y: y + 18 }, name), svg("line", { class: "lane", x1: 50, x2: width, y1: y + 14, y2: y + 14 }));
  }
  const isFlip = (one) => one.kind === "flip" || one.kind === "back";
  const before = all.slice(0, all.length - shown.length).filter(isFlip).at(-1);
  const spans = [];
  if (before) spans.push({ to: before.to, from: 0 });
  shown.forEach((one, at) => { if (isFlip(one)) spans.push({ to: one.to, from: at }); });
  spans.forEach((span, at) => {
    const end = spans[at + 1]?.from ?? shown.length;
    const y = lanes[colour(span.to)];
    if (end <= span.from) return;
    drawn.push(svg("rect", { class: `live ${colour(span.to)}`, x: x(span.from) + 1, y, width: Math.max(3, (end - span.from) * step - 2), height: 28, rx: 5 },
      svg("title", {}, `${span.to} was live`)));
    if (swept.has(span.to)) drawn.push(svg("rect", { class: "ghost", x: x(span.from) - 1, y: y - 2, width: (end - span.from) * step + 2, height: 32, rx: 6 }));
    if ((end - span.from) * step > 50) drawn.push(svg("text", { class: "on", x: x(span.from) + 7, y: y + 18 }, `…${span.to.slice(-5)}${swept.has(span.to) ? " ⌫" : ""}`));
  });
  shown.forEach((one, at) => {
    const [sign, name] = EVENTS[one.kind];
    const y = lanes[colour(one.to)];
    if (one.kind === "rejected" || one.kind === "candidate") {
      drawn.push(svg("rect", { class: one.kind === "rejected" ? "refused" : "ghost", x: x(at) + 3, y: y + 2, width: Math.min(24, step - 6), height: 24, rx: 5 }),
        svg("text", { class: one.kind === "rejected" ? "bad" : "", x: x(at) + 10, y: y + 18 }, sign));
    }
    if (one.kind === "held") drawn.push(svg("rect", { class: "held", x: x(at), y: 30, width: width - x(at), height: 88 }));
    const mark = one.kind === "rejected" ? "bad" : one.kind === "held" ? "warn" : "strong";
    drawn.push(svg("text", { class: mark, x: x(at), y: 14 }, `${sign} ${name}`), svg("text", { x: x(at), y: 132 }, one.at.slice(11, 19)));
    if (at === 0 || one.at.slice(0, 10) !== shown[at - 1].at.slice(0, 10)) drawn.push(svg("text", { x: x(at), y: 146 }, one.at.slice(5, 10)));
  });
  const words = all.slice().reverse().map((one) => h("li", {}, h("time", { datetime: one.at }, moment(one.at)), ` ${EVENTS[one.kind][0]} ${EVENTS[one.kind][1]} `,
    one.to && id(one.to), one.by && ` by ${one.by}`, one.why && `: ${one.why}`));
  return h("figure", {},
    svg("svg", { role: "img", "aria-labelledby": "timeline-caption", viewBox: `0 0 ${width} 150`, width: "100%" }, drawn),
    h("figcaption", { id: "timeline-caption" }, `The last ${shown.length} events. Each step is equally wide. ▲ a flip, ↶ a rollback or return, ✕ a rejected candidate, `,
      "○ a candidate, ‖ a hold; a dashed frame and ⌫ mark what the next sweep deletes."),
    h("details", { id: "events" }, h("summary", {}, `All ${all.length} events in words`), h("ul", {}, words)));
}

function charts(known) {
  const all = known.slice().reverse();
  if (!all.length) return h("p", { class: "note" }, "No complete generation.");
  const chart = (name, value, shown) => {
    const most = Math.max(1, ...all.map(value));
    const step = Math.min(36, 300 / all.length);
    const bars = all.map((one, at) => {
      const height = Math.max(2, (value(one) / most) * 80);
      return svg("rect", { class: one.state === "candidate" ? "ghost" : colour(one.generation), x: at * step + 1, y: 90 - height, width: Math.max(2, step - 3), height, rx: 2 },
        svg("title", {}, `${one.generation}: ${shown(value(one))}`));
    });
    const text = `${name} of the last ${all.length} generations: from ${shown(value(all[0]))} to ${shown(value(all.at(-1)))}, at most ${shown(most)}.`;
    return h("figure", {}, svg("svg", { role: "img", "aria-label": text, viewBox: "0 0 300 92", width: "100%", height: 110, preserveAspectRatio: "xMinYMax meet" }, bars),
      h("figcaption", {}, text));
  };
  return h("div", { class: "charts" }, chart("Rows", (one) => one.rows, number), chart("Bytes", (one) => one.bytes, size));
}

/// Returns what differs between the columns of two generations, in words.
function changes(from, to) {
  const types = (record) => new Map([...record.columns, ...record.partitions].map((column) => [column.name, column.type]));
  const [old, young] = [types(from), types(to)];
  const found = [];
  for (const [name, type] of young) {
    if (!old.has(name)) found.push(`+ ${name} ${type}`);
    else if (old.get(name) !== type) found.push(`${name}: ${old.get(name)} → ${type}`);
  }
  for (const name of old.keys()) if (!young.has(name)) found.push(`− ${name}`);
  return found;
}

function columns(status, records) {
  const known = (status.generations ?? []).map((one) => records.get(one.generation)).filter(Boolean);
  const current = records.get(status.live) ?? known[0];
  if (!current) return h("p", { class: "note" }, "No complete generation.");
  const counts = [["NULL instead of a value that the type can't represent", current.nulled], ["NULL because the file lacks the column", current.missing]];
  const remarks = (name) => counts.filter(([, all]) => all?.[name]).map(([text, all]) => `${number(all[name])} × ${text}`).join("; ");
  const rows = [...current.columns.map((one) => [one, ""]), ...current.partitions.map((one) => [one, "partition"])];
  const changed = known.slice(0, -1).map((to, at) => [to.generation, changes(known[at + 1], to)]).filter(([, found]) => found.length);
  return [
    table(`The columns of ${current.generation}, in ${number(current.files)} files`, [["column"], ["type"], ["remarks"]],
      rows.map(([one, kind]) => [one.name, h("code", {}, one.type), [kind, remarks(one.name)].filter(Boolean).join("; ")])),
    h("h3", {}, "Changes"),
    changed.length ? h("ul", {}, changed.map(([name, found]) => h("li", {}, id(name), ": ", found.join(", "))))
      : h("p", { class: "note" }, "The listed generations have the same columns."),
  ];
}

function sweep(next) {
  if (next.skipped) return h("p", {}, "The next sweep would skip this dataset: ", next.skipped);
  const rows = [...(next.deletes ?? []).map((one) => [id(one.generation), badge("delete", "warn"), one.reason, ""]),
    ...(next.keeps ?? []).map((one) => [id(one.generation), badge("keep", "plain"), one.reason, one.until ? moment(one.until) : ""])];
  return rows.length ? table("What the next sweep would do, if no running query needs a generation", [["generation"], ["plan"], ["why"], ["until"]], rows)
    : h("p", { class: "note" }, "It would delete nothing.");
}

// ---- Opt-outs ----

async function optouts() {
  const all = await ask("/api/overview");
  const inboxes = all.datasets.filter((one) => one.is_inbox);
  const each = await Promise.all(inboxes.map((one) => ask(`/api/datasets/${encodeURIComponent(one.dataset)}`)));
  return { title: "Opt-outs", data: [all, each], slow: inboxes.length > 0, render: () => [
    h("h1", {}, "Opt-outs"),
    inboxes.length ? null : h("p", { class: "note" }, "No dataset is an inbox of opt-outs."),
    inboxes.map((summary, at) => {
      const { inbox } = each[at].status;
      const found = (all.conditions ?? []).filter((one) => subject(one) === summary.dataset);
      const out = Math.max(0, ...(inbox?.matches ?? []).map((one) => one.out ?? 0));
      return h("section", { class: "card", "aria-labelledby": `inbox-${at}` },
        h("h2", { id: `inbox-${at}` }, link(summary.dataset), " ", badge(...state(summary))),
        found.length ? conditions(found, []) : null,
        inbox && [facts([
          ["people out", inbox.matches?.some((one) => (one.out ?? null) !== null) ? number(out) : "not counted"],
          ["people known", number(inbox.keys)],
          ["lag", inbox.oldest_unread ? ["the oldest unread drop came ", ago(inbox.oldest_unread)] : "none: every drop is read"],
          ["unread drops", number(inbox.unread)],
          ["drops with rejected records", number(inbox.rejected)],
          ["last drop", inbox.last_drop ? ago(inbox.last_drop) : "none"],
          ["held back", inbox.held_back],
        ]),
        about.allows_actions && summary.inbox?.held_back && h("div", { class: "buttons" }, h("button", { type: "button", id: `return-${summary.dataset}`,
          onclick: () => open({ action: "return", dataset: summary.dataset, people: summary.inbox.held_back }, "Let them return") }, "Let them return…")),
        h("h3", {}, "Views"),
        table("The views that Turntable keeps for this inbox", [["view"], ["state"], ["detail"]], (inbox.views ?? []).map((one) => [h("code", {}, one.view),
          badge(one.state ?? "error", one.state === "kept" ? "good" : one.state === "pending" ? "plain" : "bad"), one.error ?? ""])),
        inbox.matches?.length ? [h("h3", {}, "Protected tables"),
          table("People who opted out, and how many of them have no row in the table", [["table"], ["out", "number"], ["without a row", "number"], ["remark"]],
            inbox.matches.map((one) => [one.table, number(one.out), number(one.unmatched), one.warning ?? one.error ?? ""]))] : null]);
    }),
  ] };
}

// ---- Configuration ----

async function configuration() {
  const data = await ask("/api/configuration");
  const byLine = new Map();
  for (const fault of data.faults) if (fault.line) byLine.set(fault.line, [...(byLine.get(fault.line) ?? []), fault.message]);
  return { title: "Configuration", data, render: () => [
    h("h1", {}, "Configuration"),
    h("p", { class: "note" }, h("code", {}, data.at), ". Passwords are hidden. Change the file in the bucket; this page only shows it."),
    data.faults.length ? h("ul", { class: "plain conditions" }, data.faults.map((one) => h("li", {}, h("strong", {}, one.line ? `⚠ line ${one.line}` : "⚠"), h("p", {}, one.message))))
      : h("p", { class: "calm" }, "✓ No faults."),
    h("h2", { id: "file" }, "datasets.toml"),
    h("pre", { class: "file", tabindex: 0, role: "region", "aria-labelledby": "file" }, data.text.replace(/\n$/, "").split("\n").map((line, at) => {
      const faults = byLine.get(at + 1);
      return h("span", { "data-line": at + 1, class: faults && "fault", title: faults?.join("\n") }, line || " ", faults && `   ⚠ ${faults.join("; ")}`);
    })),
  ] };
}

// ---- Actions ----

function toolbar(status, summary) {
  if (!about.allows_actions) return null;
  const button = (action, text) => h("button", { type: "button", id: `act-${action}`, onclick: () => open({ action, dataset: status.dataset }, text) }, `${text}…`);
  return h("div", { class: "buttons", role: "group", "aria-label": "Actions" },
    status.inbox ? null : button("export", "Export"),
    status.previous && !status.inbox ? button("rollback", "Roll back") : null,
    hold(status) || summary.hold ? button("release", "Release") : button("hold", "Hold"));
}

/// Shows what an action would change, asks for the reason, and carries it out.
async function open(wanted, name) {
  const title = h("h2", { id: "dialog-title" }, `${name}: ${wanted.dataset}`);
  const close = (text) => h("button", { type: "button", onclick: () => DIALOG.close() }, text);
  DIALOG.replaceChildren(title, h("p", { role: "status" }, "Looking up what this changes…"), h("div", { class: "buttons" }, close("Cancel")));
  DIALOG.showModal();
  let effect;
  try {
    effect = await send("/api/effects", wanted);
  } catch (error) {
    DIALOG.replaceChildren(title, h("p", { class: "trouble", role: "alert" }, error.message), h("div", { class: "buttons" }, close("Close")));
    return;
  }
  const reason = h("textarea", { id: "reason", required: true, maxlength: 500, "aria-describedby": "kept" });
  const confirm = h("button", { type: "button", class: "main", disabled: true, onclick: act }, name);
  const result = h("p", { role: "status" });
  reason.addEventListener("input", () => { confirm.disabled = !reason.value.trim(); });
  DIALOG.replaceChildren(title, facts(["who", "what", "from", "to", "undo"].map((key) => [key, key === "undo" ? h("code", {}, effect[key]) : effect[key]])),
    h("label", { for: "reason" }, "Reason"), reason, h("p", { class: "note", id: "kept" }, `The reason is kept ${effect.kept}.`), result,
    h("div", { class: "buttons" }, confirm, close("Cancel")));
  reason.focus();

  async function act() {
    confirm.disabled = true;
    result.textContent = "Working…";
    try {
      const { done } = await send("/api/actions", { ...wanted, generation: effect.generation ?? wanted.generation, reason: reason.value, seen: effect.seen });
      DIALOG.replaceChildren(title, h("p", { class: "calm", role: "status" }, done.trim()), h("div", { class: "buttons" }, close("Close")));
      say(done);
      DIALOG.querySelector("button").focus();
      // What is being loaded may be older than the action.
      running = null;
      await refresh();
    } catch (error) {
      result.replaceChildren(h("span", { class: "trouble", role: "alert" }, error.message));
      confirm.disabled = false;
    }
  }
}

// ---- Refreshing ----

const about = { refresh_seconds: 5, allows_actions: false };
let shown = { path: null, data: null };
let checked = null;
let failed = null;
let running = null;
let loads = 0;
let timer;

function view() {
  const path = location.hash.replace(/^#/, "");
  const one = /^\/datasets\/(.+)$/.exec(path);
  if (one) return () => dataset(decodeURIComponent(one[1]));
  return { "/optouts": optouts, "/configuration": configuration }[path] ?? overview;
}

/// Loads the view, and draws it if it has changed.
async function load(again) {
  const path = location.hash;
  const turn = ++loads;
  try {
    if (about.who === undefined) {
      Object.assign(about, await ask("/api/about"));
      document.getElementById("who").textContent = `${about.who}${about.allows_actions ? "" : " · read-only"}`;
    }
    const found = await view()();
    if (turn !== loads || path !== location.hash) return;
    about.slow = found.slow || found.data?.[0]?.status?.inbox;
    draw(path, found, again);
    [checked, failed] = [Date.now(), null];
  } catch (error) {
    if (turn !== loads || path !== location.hash) return;
    failed = error.message;
    if (shown.path !== path) {
      MAIN.replaceChildren(h("h1", {}, "This can't be shown"), h("p", { class: "trouble", role: "alert" }, failed));
      shown = { path, data: null };
    }
  }
  tick();
}

/// Draws a view. What has the focus or is open stays so.
function draw(path, found, again) {
  const same = shown.path === path;
  if (same && !again && shown.data && JSON.stringify(shown.data) === JSON.stringify(found.data)) return;
  const focus = document.activeElement?.id;
  const opened = [...MAIN.querySelectorAll("details[open]")].map((one) => one.id);
  MAIN.replaceChildren(...found.render().flat(Infinity).filter(Boolean));
  for (const one of opened) document.getElementById(one)?.setAttribute("open", "");
  if (same && focus && MAIN.contains(document.getElementById(focus))) document.getElementById(focus).focus();
  if (!same) {
    document.title = `${found.title} – Turntable`;
    if (shown.path !== null) MAIN.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  } else if (shown.data && !again) {
    say("The page was updated.");
  }
  for (const one of document.querySelectorAll("nav a")) {
    if (one.getAttribute("href") === (path || "#/")) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
  shown = { path, data: structuredClone(found.data), found };
}

function refresh() {
  clearTimeout(timer);
  if (running) return running;
  const loading = load(false).finally(() => {
    // Another load has begun, and will go on.
    if (running !== loading) return;
    running = null;
    // A status of opt-outs counts in Athena, so it is asked less often.
    const pause = about.slow ? Math.max(60, about.refresh_seconds) : about.refresh_seconds;
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(refresh, pause * 1000);
  });
  running = loading;
  return loading;
}

/// Keeps the times true, and says whether the page is up to date.
function tick() {
  for (const one of document.querySelectorAll("[data-ago]")) one.textContent = since(one.dataset.ago);
  const passed = checked === null ? null : (Date.now() - checked) / 1000;
  const late = passed !== null && passed > STALE_AFTER * (about.slow ? 60 : about.refresh_seconds);
  const text = failed ? `⚠ Not up to date${passed === null ? "" : `: the last answer is ${duration(passed)} old`}. ${failed}`
    : late ? `⚠ Not up to date: the last answer is ${duration(passed)} old.`
    : passed === null ? "Loading…" : `Checked ${duration(passed)} ago.`;
  document.getElementById("freshness").classList.toggle("stale", Boolean(failed || late));
  const place = document.getElementById("checked");
  if (failed && !place.textContent.startsWith("⚠")) say(text);
  place.textContent = text;
}

document.getElementById("refresh").addEventListener("click", refresh);
window.addEventListener("hashchange", () => {
  if (location.hash === "#main") {
    history.replaceState(null, "", `/${shown.path || "#/"}`);
    MAIN.focus();
    return;
  }
  running = null;
  refresh();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
let resized;
window.addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => { if (shown.found) draw(shown.path, shown.found, true); }, 150);
});
setInterval(tick, 1000);
refresh();
