// Reads journals, as docs/reference/journal-format.md says and from nothing else. Prints an object a line for each file named.
import { readFileSync } from 'node:fs'

const HEADER = Buffer.from(': unspool journal 1\n\n')
const BLANK = Buffer.from('\n\n')
const TABLE = Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1
  return n >>> 0
})

function crc32(bytes) {
  let crc = 0xffffffff
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8)
  return (crc ^ 0xffffffff) >>> 0
}

function block(bytes) {
  const one = { id: -1, at: null, type: 'message', upstreamId: null, data: [] }
  for (const line of bytes.toString().split('\n')) {
    const colon = line.indexOf(': ')
    if (colon < 0) throw new Error('no field')
    const name = line.slice(0, colon)
    const value = line.slice(colon + 2)
    if (name === 'id') one.id = Number(value)
    else if (name === 'at') one.at = Number(value)
    else if (name === 'event') one.type = value
    else if (name === 'upstream-id') one.upstreamId = value
    else if (name === 'data') one.data.push(value)
  }
  return { ...one, data: one.data.join('\n') }
}

function checksum(bytes) {
  const line = bytes.subarray(-14).toString('latin1')
  return line.startsWith('\ncrc: ') ? line.slice(6) : null
}

function read(bytes) {
  const found = { blocks: [], ended: false, damagedAt: null, tornAt: null }
  if (!HEADER.subarray(0, bytes.length).equals(bytes.subarray(0, HEADER.length))) return { ...found, damagedAt: 0 }
  if (bytes.length < HEADER.length) return { ...found, tornAt: bytes.length ? 0 : null }
  let start = HEADER.length // of the blocks whose checksum has not come yet
  let group = []
  let ended = false
  for (let at = start, end; (end = bytes.indexOf(BLANK, at)) >= 0; at = end + 2) {
    try {
      const one = block(bytes.subarray(at, end))
      if (one.id !== found.blocks.length + group.length) throw new Error('id')
      const isRun = one.at === null && one.type === 'unspool.tool'
      if (ended && !isRun && !(one.at === null && one.type === 'unspool.attempt')) throw new Error('after the end')
      group.push([one.id, one.at, one.type, one.upstreamId, one.data])
      ended = (ended && isRun) || (one.at === null && one.type === 'unspool.end')
      const said = checksum(bytes.subarray(at, end))
      if (said === null) continue
      if (crc32(bytes.subarray(start, end - 13)).toString(16).padStart(8, '0') !== said) throw new Error('checksum')
    } catch {
      return { ...found, damagedAt: start }
    }
    found.blocks.push(...group)
    found.ended = ended
    group = []
    start = end + 2
  }
  return { ...found, tornAt: start < bytes.length ? start : null }
}

for (const path of process.argv.slice(2)) console.log(JSON.stringify(read(readFileSync(path))))
