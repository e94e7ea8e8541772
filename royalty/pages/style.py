"""The look of a page: system fonts, light and dark, a phone's width, and A4."""

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --sheet: #f5f7fa; --ink: #1b2026; --soft: #55606c;
  --line: #d5dbe2; --log: #b9cfe8; --edge: #5b7fa8; --chain: #1d4d87; --good: #14652f; --bad: #a3161f; }
@media screen and (prefers-color-scheme: dark) {
  :root { --paper: #14181d; --sheet: #1d232a; --ink: #e6eaef; --soft: #a3aebb; --line: #39424d;
    --log: #3f5b7a; --edge: #86a9cf; --chain: #9cc9ff; --good: #7fd79a; --bad: #ff9d97; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, -apple-system,
  "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header, main, footer { max-width: 62rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 1.75rem; }
footer { padding-bottom: 3rem; color: var(--soft); font-size: .875rem; }
h1 { font-size: 1.625rem; line-height: 1.25; margin: 0; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 2.75rem 0 .5rem; padding-top: 1.25rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { margin: .5rem 0; max-width: 46rem; overflow-wrap: break-word; }
a { color: inherit; }
code, .id { font: .875em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code, .id { overflow-wrap: anywhere; } bdi { overflow-wrap: break-word; word-break: break-word; }
p code, h3 code, li code { overflow-wrap: break-word; }
tbody th { min-width: 6.5rem; } tbody th.day { min-width: 0; }
pre code { display: block; padding-left: 1.5em; text-indent: -1.5em; }
pre { background: var(--sheet); padding: .75rem 1rem; border-radius: 6px; white-space: pre-wrap;
  overflow-wrap: anywhere; margin: .5rem 0; }
.soft, caption, .legend { color: var(--soft); }
.where { margin: .25rem 0 0; color: var(--soft); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; padding: 0; margin: 1rem 0 0; }
nav a { display: inline-block; padding: .25rem 0; }
.answer { background: var(--sheet); border-left: 5px solid var(--edge); border-radius: 0 6px 6px 0;
  padding: 1rem 1.25rem; margin: 1.25rem 0 0; }
.answer p { margin: .25rem 0; }
.answer p { max-width: none; }
.answer .verdict { font-size: 1.25rem; font-weight: 650; line-height: 1.35; }
.answer.good { border-color: var(--good); } .answer.bad { border-color: var(--bad); }
.good .verdict, .yes { color: var(--good); } .bad .verdict, .no { color: var(--bad); }
.wide { overflow-x: auto; margin: .5rem 0; }
.wide:focus-visible, summary:focus-visible, a:focus-visible { outline: 2px solid var(--edge); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 0 0 .375rem; font-size: .875rem; }
caption span { display: block; position: sticky; left: 0; max-width: calc(100vw - 2.5rem); }
th, td { padding: .375rem .875rem .375rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
.n { text-align: right; white-space: nowrap; }
thead th, thead th.n { white-space: normal; }
thead th { font-size: .8125rem; font-weight: 600; color: var(--soft); vertical-align: bottom; }
tbody th { font-weight: 500; }
tfoot th, tfoot td { font-weight: 650; border-bottom: 0; }
.day { white-space: nowrap; }
.barred { width: 46%; min-width: 9.5rem; }
.title.below { display: none; }
.most { width: 62%; }
.title { display: block; color: var(--soft); font-weight: 400; }
.differs { color: var(--bad); fill: var(--bad); font-weight: 700; }
.hidden { border: 1px solid var(--bad); border-radius: 3px; color: var(--bad); font-size: .6875rem;
  padding: 0 .2em; margin: 0 .1em; white-space: nowrap; }
.reason { background: none; margin-top: 1.75rem; }
.reason h3 { display: flex; flex-wrap: wrap; gap: 0 1rem; justify-content: space-between; }
.reason h3 span:last-child { font-variant-numeric: tabular-nums; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 0 2rem; }
.charts figure:first-child, .charts figure:last-child:nth-child(even) { grid-column: 1 / -1; }
.charts figure:not(:first-child):not(:last-child:nth-child(even)) .minor { display: none; }
figure { margin: 1rem 0; min-width: 0; }
figcaption { font-weight: 600; font-size: .9375rem; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; font-size: .875rem; }
.legend span { display: inline-flex; align-items: center; gap: .4rem; }
.plot { display: flex; margin-top: .25rem; padding-right: 1.25rem; }
svg { display: block; overflow: visible; flex: 1 1 auto; min-width: 0; }
svg.axis, svg.key { flex: none; }
svg.bar { margin-top: .25rem; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--soft);
  font-variant-numeric: tabular-nums; }
svg text.differs { fill: var(--bad); font-weight: 700; font-size: 15px; }
.grid { stroke: var(--line); stroke-width: 1; shape-rendering: crispEdges; }
rect { shape-rendering: crispEdges; }
rect.logged { fill: var(--log); stroke: var(--edge); stroke-width: 1; } rect.credited { fill: var(--chain); }
summary { cursor: pointer; padding: .375rem 0; color: var(--soft); }
dl { margin: 1rem 0; } dl > div { display: grid; grid-template-columns: 17rem 1fr; gap: 0 1.5rem;
  padding: .25rem 0; } dt { color: var(--soft); } dd { margin: 0; min-width: 0; }
ul.notes { padding-left: 1.25rem; margin: .5rem 0; } ul.notes li { margin: .25rem 0; }
@media screen and (max-width: 40rem) {
  header, main, footer { padding-left: 1rem; padding-right: 1rem; }
  h1 { font-size: 1.375rem; } .answer { padding: .875rem 1rem; } .answer .verdict { font-size: 1.125rem; }
  dl > div { display: block; padding: .375rem 0; }
  .beside { display: none; } .title.below { display: block; }
  .barred { min-width: 8rem; } .minor { display: none; } table { font-size: .875rem; }
  th, td { padding-right: .75rem; }
}
@media print {
  @page { size: A4; margin: 16mm 15mm; }
  body { font-size: 10pt; line-height: 1.4; }
  header, main, footer { max-width: none; padding: 0; }
  nav, summary { display: none; }
  h1 { font-size: 16pt; } h2 { font-size: 12.5pt; margin-top: 7mm; padding-top: 3mm; } h3 { font-size: 10pt; }
  h2, h3, figcaption, caption, .legend, #days > p, #rows > p, .reason > p { break-after: avoid; }
  p { max-width: none; break-inside: avoid; } .short { break-inside: avoid; }
  dl > div { grid-template-columns: 55mm 1fr; }
  .charts { grid-template-columns: 1fr 1fr; }
  table, caption, thead th, .legend, .soft { font-size: 8.5pt; }
  thead { display: table-header-group; } tfoot { display: table-row-group; }
  tr, figure, .answer, dl > div, pre { break-inside: avoid; }
  th, td { padding: 1mm 2.5mm 1mm 0; }
  .wide { overflow: visible; } caption span { max-width: none; position: static; }
  .answer, pre, rect, .hidden { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
}
"""
