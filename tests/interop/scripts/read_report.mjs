// A real browser (Chromium) that opens a page and says what a person would see, and what the page tried to load. Facts come in as one JSON
// line on stdin, steps go out as JSON lines on stdout.
import { createInterface } from "node:readline";

const report = (step, values = {}) => process.stdout.write(JSON.stringify({ step, ...values }) + "\n");

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const given = JSON.parse((await lines.next()).value);
const { default: chromium } = await import(`${given.modules}/node_modules/@sparticuz/chromium/build/esm/index.js`);
const { default: puppeteer } = await import(`${given.modules}/node_modules/puppeteer-core/lib/esm/puppeteer/puppeteer-core.js`);

let browser;
try {
  browser = await puppeteer.launch({ args: [...chromium.args, "--no-sandbox"], executablePath: await chromium.executablePath(), headless: "shell" });
} catch (error) {
  report("started", { problem: String(error.message).split("\n")[0] });
  process.exit(0);
}
report("started", { version: await browser.version() });
const page = await browser.newPage();
const requests = [];
const complaints = [];
page.on("request", (request) => requests.push(request.url()));
page.on("console", (message) => complaints.push(message.text()));
page.on("pageerror", (error) => complaints.push(String(error)));
page.on("dialog", async (dialog) => {
  complaints.push(`dialog: ${dialog.message()}`);
  await dialog.dismiss();
});
for (const [name, width] of [["desktop", 1200], ["phone", 360]]) {
  await page.setViewport({ width, height: 800 });
  await page.goto(given.url, { waitUntil: "load" });
  report(name, {
    title: await page.title(),
    text: await page.evaluate(() => document.body.innerText),
    rows: await page.evaluate(() => document.querySelectorAll("tbody tr").length),
    headings: await page.evaluate(() => [...document.querySelectorAll("h1, h2")].map((heading) => heading.textContent)),
    scripts: await page.evaluate(() => document.querySelectorAll("script, img, iframe, link").length),
    overflows: await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth),
    color: await page.evaluate(() => getComputedStyle(document.querySelector("h1 span")).color),
  });
}
report("loaded", { requests, complaints });
await browser.close();
process.exit(0);
