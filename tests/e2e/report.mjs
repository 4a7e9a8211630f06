// The page of `trunkline report` in a real browser: no error, no request, filters, hovering, keyboard, sorting,
// dark, print, without scripts; the numbers shown are those of points.jsonl.
//
//   node tests/e2e/report.mjs PAGE.html POINTS.jsonl FOLDER_OF_SCREENSHOTS
//
// Needs `playwright-core` (NODE_PATH or ./node_modules) and Chromium ($CHROMIUM, else /usr/bin/chromium).
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [page_file, points_file, folder] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${process.env.NODE_PATH ?? resolve("node_modules")}/x.js`));
const { chromium } = require("playwright-core");
const records = readFileSync(points_file, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
mkdirSync(folder, { recursive: true });

const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args });
const faults = [];

async function open(options) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  const page = await context.newPage();
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("request", (request) => /^(file|data):/.test(request.url()) || faults.push(`asked for ${request.url()}`));
  await page.goto(pathToFileURL(resolve(page_file)).href);
  return page;
}
const shot = (page, name, options = {}) => page.screenshot({ path: `${folder}/${name}.png`, ...options });
const number = (text) => parseFloat(text.replace(/[≥,\s%]/g, ""));
async function column(page, name) {
  const heads = (await page.locator("#comparison th").allTextContents()).map((t) => t.trim());
  const at = heads.indexOf(name);
  return at < 0 ? null : page.locator(`#comparison tbody tr td:nth-child(${at + 1})`).allTextContents();
}

/** Points that differ in their seed only, in the order of the table. */
function groups() {
  const found = new Map();
  for (const record of records) {
    const { training, ...rest } = record.point;
    const key = JSON.stringify([rest, training && { ...training, seed: 0 }]);
    if (!found.has(key)) found.set(key, []);
    found.get(key).push(record);
  }
  return [...found.values()];
}

async function numbers(page) {
  const all = groups();
  const checks = {
    connections: (r) => r.counted?.connections.total,
    trainable: (r) => r.counted?.params.trainable_without_head,
    "B out": (r) => r.counted?.forward.tap_out_bytes,
    "B in": (r) => r.counted?.forward.tap_in_bytes,
    "training memory, B": (r) => r.counted?.training?.kept_published_b,
    "modelled energy, µJ": (r) => r.modelled && +(r.modelled.energy_pj / 1e6).toFixed(2),
  };
  let compared = 0;
  for (const [name, of] of Object.entries(checks)) {
    const shown = await column(page, name);
    assert.ok(shown, `there is no column ${name}`);
    assert.equal(shown.length, all.length);
    all.forEach((group, i) => {
      const wanted = of(group.find((r) => !r.error) ?? group[0]);
      if (wanted === undefined || wanted === null) return assert.equal(shown[i], "");
      assert.ok(Math.abs(number(shown[i]) - wanted) <= 0.011, `${name}, row ${i + 1}: ${shown[i]}, not ${wanted}`);
      compared += 1;
    });
  }
  const accuracy = await column(page, "accuracy, %");
  if (accuracy) {
    all.forEach((group, i) => {
      const values = group.flatMap((r) => r.learned ? [r.learned.accuracy] : []);
      if (!values.length) return assert.equal(accuracy[i], "");
      const mean = 100 * values.reduce((a, b) => a + b, 0) / values.length;
      assert.ok(Math.abs(number(accuracy[i]) - mean) <= 0.0051, `accuracy, row ${i + 1}: ${accuracy[i]}, not ${mean}`);
      compared += 1;
    });
  }
  return compared;
}

async function filters(page) {
  const select = page.locator("#filters select[name=scheme]");
  const all = await page.locator("#comparison tbody tr:visible").count();
  const scheme = await select.locator("option").nth(1).textContent();
  await select.selectOption({ index: 1 });
  const wanted = groups().filter((g) => g[0].point.scheme === scheme).length;
  assert.equal(await page.locator("#comparison tbody tr:visible").count(), wanted);
  assert.match(await page.locator("#shown").textContent(), new RegExp(`^${wanted} of ${all} shown$`));
  const classes = await page.locator(".plots figure:first-child .p:visible").evaluateAll((ps) => ps.map((p) => p.classList.contains("s0")));
  assert.ok(classes.length > 0 && classes.every(Boolean), "points of other schemes are shown");
  await shot(page, "filtered");
  await select.selectOption("");
  assert.equal(await page.locator("#comparison tbody tr:visible").count(), all);
  const plot = page.locator("#filters select[name=plot]");
  await plot.selectOption({ index: 1 });
  assert.equal(await page.locator(".plots figure:visible").count(), 1);
  await shot(page, "one-plot");
  await plot.selectOption("");
}

async function hover(page) {
  const point = page.locator(".plots figure:first-child .p.front").last();
  await point.scrollIntoViewIfNeeded();
  await point.hover({ force: true });
  assert.ok(await page.locator("#tip").isVisible(), "hovering shows nothing");
  const lit = page.locator("tr.lit");
  const told = await page.locator("#tip").textContent();
  for (const cell of (await lit.locator("td").allTextContents()).filter(Boolean)) assert.ok(told.includes(cell), cell);
  await shot(page, "hover");
  await page.mouse.move(2, 2);
  assert.ok(!(await page.locator("#tip").isVisible()));
}

async function keyboard(page) {
  const first = page.locator(".plots figure:first-child .p[tabindex='0']");
  assert.equal(await first.count(), 1, "one stop per plot");
  await first.focus();
  const row = () => page.evaluate(() => document.activeElement.dataset.row);
  const before = await row();
  await page.keyboard.press("ArrowRight");
  assert.notEqual(await row(), before);
  assert.ok(await page.locator("#tip").isVisible());
  await page.keyboard.press("Escape");
  assert.ok(!(await page.locator("#tip").isVisible()));
  const button = page.locator("#comparison th button", { hasText: /^connections$/ });
  await button.focus();
  await page.keyboard.press("Enter");
  const up = (await column(page, "connections")).filter(Boolean).map(number);
  assert.deepEqual(up, [...up].sort((a, b) => a - b));
  await page.keyboard.press("Enter");
  assert.deepEqual((await column(page, "connections")).filter(Boolean).map(number), up.reverse());
  const head = page.locator("#comparison th[aria-sort=descending]");
  assert.equal(await head.count(), 1);
}

async function names(page) {
  const nameless = await page.evaluate(() => Array.from(document.querySelectorAll("svg[role], select, section, figure svg"))
    .filter((e) => !e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby") && !e.labels?.length).map((e) => e.outerHTML.slice(0, 80)));
  assert.deepEqual(nameless, []);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `the page is ${wide} px too wide`);
}

const light = await open();
const compared = await numbers(light);
await names(light);
await shot(light, "light");
await shot(light, "light-full", { fullPage: true });
await filters(light);
await hover(light);
await keyboard(light);
const dark = await open({ colorScheme: "dark" });
const background = await dark.evaluate(() => getComputedStyle(document.body).backgroundColor);
assert.ok(background.match(/\d+/g).map(Number).every((c) => c < 80), `dark has ${background}`);
await shot(dark, "dark");
await shot(dark, "dark-full", { fullPage: true });
await dark.emulateMedia({ media: "print" });
assert.ok(!(await dark.locator("#filters").isVisible()), "filters are printed");
await shot(dark, "print");
await dark.pdf({ path: `${folder}/print.pdf`, format: "A4", landscape: true });
const narrow = await open({ viewport: { width: 420, height: 800 } });
await names(narrow);
await shot(narrow, "narrow");
const plain = await open({ javaScriptEnabled: false });
assert.ok(await plain.locator(".plots .p").first().isVisible() && !(await plain.locator("#filters").isVisible()));
await shot(plain, "plain");
assert.deepEqual(faults, []);
await browser.close();
console.log(`${compared} numbers agree; ${records.length} points; screenshots in ${folder}`);
