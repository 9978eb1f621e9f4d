/** Names of kinds of arithmetic, in the order of their colours (`--k0` …). Others share the last colour. */
export const kindOrder = ['conv 3x3', 'linear', 'attention', 'group norm', 'geglu', 'layer norm', 'concat'] as const

/** The class that colours a kind. */
export function kindClass(kind: string): string {
  const index = (kindOrder as readonly string[]).indexOf(kind)
  return `k${index === -1 ? kindOrder.length : index}`
}

/** The class that colours a number format. */
export const dtypeClass = (dtype: string): string => `d-${dtype.replace(/[^a-z0-9]/g, '')}`

/** All of the page's look; no fonts or images from elsewhere. Colours come in a light and a dark set. */
export const style = `
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --card: #ffffff; --ink: #1d2330; --soft: #5d6676; --faint: #e6e3dc; --grid: #ecebe6; --accent: #2f5bd7; --good: #1b7f4b; --bad: #b3372f;
  --k0: #2f5bd7; --k1: #e08a2e; --k2: #b8456f; --k3: #2a9d8f; --k4: #8a63c9; --k5: #7a9e3c; --k6: #c4a32a; --k7: #9aa3b2;
  --fp32: #2f5bd7; --bf16: #2a9d8f; --int8: #e08a2e; --peer: #b9bfca;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12151b; --card: #1a1f28; --ink: #e8eaf0; --soft: #9aa4b5; --faint: #2b323e; --grid: #262d38; --accent: #7fa0ff; --good: #5fd08f; --bad: #ff8d82;
    --k0: #6d93ff; --k1: #f0a556; --k2: #e0759b; --k3: #4fc7b7; --k4: #b394ec; --k5: #a3c963; --k6: #e3c64f; --k7: #6b7585;
    --fp32: #6d93ff; --bf16: #4fc7b7; --int8: #f0a556; --peer: #566072;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.02em; }
h2 { font-size: 21px; margin: 52px 0 4px; letter-spacing: -0.01em; }
h3 { font-size: 15px; margin: 26px 0 8px; }
p { margin: 6px 0; max-width: 74ch; }
.lead, .caption { color: var(--soft); }
.caption { font-size: 13.5px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 14px; margin: 26px 0 8px; }
.card { background: var(--card); border: 1px solid var(--faint); border-radius: 12px; padding: 14px 16px 12px; }
.card .label { color: var(--soft); font-size: 13px; }
.card .value { font-size: 27px; font-weight: 650; letter-spacing: -0.02em; line-height: 1.25; }
.card .more { color: var(--soft); font-size: 13px; }
.panel { background: var(--card); border: 1px solid var(--faint); border-radius: 12px; padding: 16px 18px; margin: 12px 0; overflow-x: auto; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; fill: var(--ink); }
svg .soft { fill: var(--soft); }
svg .grid { stroke: var(--grid); stroke-width: 1; }
svg .axis { stroke: var(--soft); stroke-width: 1; }
svg .whisker { stroke: var(--ink); stroke-width: 1.5; opacity: 0.6; }
svg .mark { stroke: var(--ink); stroke-width: 2; }
svg .line { fill: none; stroke: var(--soft); stroke-width: 1.5; }
svg .arrow { stroke: var(--ink); stroke-width: 2; }
svg .halo { paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
.k0 { fill: var(--k0); background: var(--k0); } .k1 { fill: var(--k1); background: var(--k1); } .k2 { fill: var(--k2); background: var(--k2); } .k3 { fill: var(--k3); background: var(--k3); }
.k4 { fill: var(--k4); background: var(--k4); } .k5 { fill: var(--k5); background: var(--k5); } .k6 { fill: var(--k6); background: var(--k6); } .k7 { fill: var(--k7); background: var(--k7); }
.d-fp32 { fill: var(--fp32); background: var(--fp32); } .d-bf16 { fill: var(--bf16); background: var(--bf16); } .d-int8 { fill: var(--int8); background: var(--int8); } .peer { fill: var(--peer); background: var(--peer); }
svg line.d-fp32, svg path.d-fp32 { stroke: var(--fp32); } svg line.d-bf16, svg path.d-bf16 { stroke: var(--bf16); } svg line.d-int8, svg path.d-int8 { stroke: var(--int8); }
svg path { fill: none; }
.dot { fill-opacity: 0.72; stroke: var(--card); stroke-width: 1; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; color: var(--soft); margin: 0 0 8px; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th, td { text-align: right; padding: 5px 0 5px 16px; border-bottom: 1px solid var(--faint); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: normal; }
tr:last-child td { border-bottom: 0; }
th { color: var(--soft); font-weight: 500; }
.over { background: var(--bad); }
.bar { display: block; height: 9px; border-radius: 3px; }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
details { margin: 10px 0; } summary { cursor: pointer; color: var(--accent); font-size: 14px; }
.notes { border-left: 3px solid var(--k6); padding: 2px 0 2px 14px; margin: 18px 0; }
footer { color: var(--soft); font-size: 13px; margin-top: 56px; border-top: 1px solid var(--faint); padding-top: 14px; }
@media print { body { background: white; } .panel, .card { break-inside: avoid; } }
`
