// The gateway's page: lists streams, shows one as it is written. Everything that a model or a client named is put in as text nodes.
const POLL_MS = 1000
const $ = id => document.getElementById(id)
const rows = new Map()
let session = null
let source = null
let timer = null

async function call(method, path, body) {
  const options = { method, headers: {}, cache: 'no-store', credentials: 'same-origin' }
  if (body !== undefined) {
    options.body = JSON.stringify(body)
    options.headers['Content-Type'] = 'application/json'
  }
  return fetch(path, options)
}

async function start() {
  clearTimeout(timer)
  const response = await call('GET', 'session')
  session = response.ok ? await response.json() : null
  const isIn = session?.owner != null
  $('sign-in').hidden = isIn
  $('sign-out').hidden = !isIn
  $('owner').textContent = isIn ? (session.is_admin ? 'all streams' : session.uses_tokens ? session.owner : 'the streams of your key') : ''
  document.querySelector('label[for=key]').textContent = session?.uses_tokens
    ? 'Your token for this gateway:'
    : 'The token that the gateway printed at its start, or the API key whose streams to show (empty where none is used):'
  document.body.classList.toggle('admin', Boolean(session?.is_admin))
  if (!isIn) {
    leave()
    $('streams').hidden = true
    $('key').focus()
  } else {
    route()
    await poll()
  }
}

async function poll() {
  clearTimeout(timer)
  try {
    if (!document.hidden) {
      const response = await call('GET', 'streams')
      if (response.status === 401) return await start()
      if (!response.ok) throw new Error(`the gateway answers ${response.status}`)
      list((await response.json()).streams)
      $('notice').textContent = ''
    }
  } catch (error) {
    $('notice').textContent = `Not connected (${error.message}); trying again.`
  }
  timer = setTimeout(poll, POLL_MS)
}

function list(streams) {
  const body = document.querySelector('tbody')
  const seen = new Set()
  let before = null
  for (const stream of streams) {
    seen.add(stream.id)
    let row = rows.get(stream.id)
    if (!row) {
      row = newRow(stream)
      rows.set(stream.id, row)
    }
    const place = before ? before.nextSibling : body.firstChild
    if (place !== row.element) body.insertBefore(row.element, place)
    before = row.element
    fill(row, stream)
    if (stream.id === location.hash.slice(1)) {
      $('measures').textContent = `${ttft(stream)} to the first token, ${rate(stream)} tokens/s`
    }
  }
  for (const [id, row] of rows) {
    if (seen.has(id)) continue
    row.element.remove()
    rows.delete(id)
  }
  $('empty').hidden = streams.length > 0
  for (const cell of document.querySelectorAll('.owner')) cell.hidden = !session?.is_admin
}

function newRow(stream) {
  const element = document.createElement('tr')
  const cells = {}
  for (const name of ['state', 'model', 'endpoint', 'began', 'ttft', 'rate', 'tokens', 'owner', 'id']) {
    cells[name] = element.insertCell()
    cells[name].className = ['ttft', 'rate', 'tokens'].includes(name) ? 'number' : name
  }
  const open = document.createElement('button')
  open.type = 'button'
  open.textContent = stream.id.slice(-6)
  open.title = `Open ${stream.id}`
  open.onclick = () => { location.hash = stream.id }
  cells.id.append(open)
  return { element, cells }
}

function fill({ cells }, stream) {
  const put = (cell, text) => { if (cell.textContent !== text) cell.textContent = text }
  put(cells.state, stream.state)
  cells.state.className = kind(stream.state)
  put(cells.model, stream.model)
  cells.model.title = stream.model
  put(cells.endpoint, stream.endpoint)
  put(cells.began, new Date(stream.created * 1000).toLocaleTimeString())
  put(cells.ttft, ttft(stream))
  put(cells.rate, rate(stream))
  put(cells.tokens, stream.output_tokens == null ? '–' : String(stream.output_tokens))
  put(cells.owner, stream.owner)
}

const ttft = stream => (stream.ttft == null ? '–' : `${stream.ttft.toFixed(2)} s`)
const rate = stream => (stream.rate == null ? '–' : stream.rate.toFixed(1))
const kind = state => (['running', 'complete'].includes(state) ? state : 'other')

// One stream

function route() {
  const id = location.hash.slice(1)
  if (/^[0-9A-HJKMNP-TV-Z]{26}$/.test(id) && session?.owner != null) watch(id)
  else leave()
}

function leave() {
  source?.close()
  source = null
  $('stream').hidden = true
  $('streams').hidden = session?.owner == null
}

function watch(id) {
  source?.close()
  const text = $('text').appendChild(fresh('text'))
  const reasoning = $('reasoning').appendChild(fresh('reasoning'))
  const state = word => {
    $('stream-state').textContent = word
    $('stream-state').className = kind(word)
  }
  $('stream-id').textContent = id
  $('measures').textContent = ''
  $('thinking').hidden = true
  $('streams').hidden = true
  $('stream').hidden = false
  $('cancel').hidden = false
  state('running')
  $('cancel').onclick = async () => {
    const response = await call('POST', `streams/${id}/cancel`)
    if (!response.ok) $('notice').textContent = `The gateway did not cancel it (${response.status}).`
  }
  source = new EventSource(`streams/${id}?format=unspool`)
  const own = source
  own.onmessage = ({ data }) => {
    const delta = JSON.parse(data)
    if (delta.type === 'text' || delta.type === 'refusal') {
      if (!delta.choice) text.appendData(delta.text)
    } else if (delta.type === 'reasoning') {
      $('thinking').hidden = false
      reasoning.appendData(delta.text)
    } else if (delta.type === 'tool_call') {
      text.appendData(`\n[calls ${delta.name} with ${delta.arguments}]\n`)
    } else if (delta.type === 'end') {
      own.close()
      state(delta.outcome)
      if (delta.message) $('stream-state').textContent += `: ${delta.message}`
      $('cancel').hidden = true
    }
  }
  own.onerror = () => {
    if (own.readyState === EventSource.CLOSED) {
      state('not available')
      $('cancel').hidden = true
    }
  }
}

// An empty element with one text node, so that appending costs the same however long the text is.
function fresh(id) {
  $(id).replaceChildren()
  return document.createTextNode('')
}

$('sign-in').onsubmit = async event => {
  event.preventDefault()
  const response = await call('POST', 'session', { key: $('key').value })
  $('key').value = ''
  const said = response.ok ? '' : (await response.json().catch(() => null))?.error?.message
  $('notice').textContent = response.ok ? '' : said ?? `The gateway answers ${response.status}.`
  if (response.ok) await start()
}
$('sign-out').onclick = async () => {
  await call('DELETE', 'session')
  location.hash = ''
  await start()
}
$('close').onclick = () => { location.hash = '' }
addEventListener('hashchange', route)
document.addEventListener('visibilitychange', () => { if (!document.hidden && session?.owner != null) poll() })
start()
