// On a narrow screen, site.css shows each row of a wide table as a list: every cell then needs the heading of its column.
for (const table of document.querySelectorAll('.md-typeset table')) {
  const headings = [...table.querySelectorAll('th')].map((heading) => heading.textContent)
  if (headings.length < 3) continue
  table.dataset.wide = '' // no class: the theme draws only tables without one
  for (const row of table.tBodies[0].rows)
    [...row.cells].forEach((cell, index) => { cell.dataset.heading = headings[index] })
}
