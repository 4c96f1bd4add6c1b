// Plays one side of a benchmark with EthereumJS's devp2p library; see benchmarks/drivers.py for the words that it
// and the harness exchange.
'use strict'

const { randomBytes } = require('node:crypto')
const { once } = require('node:events')
const { readFileSync } = require('node:fs')
const { createInterface } = require('node:readline')
const { setTimeout: sleep } = require('node:timers/promises')
const { RLPx } = require('@ethereumjs/devp2p')
const snappy = require('snappyjs')

const task = JSON.parse(process.argv[2])
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

// Message codes of the capability bench/1.
const DATA = 0
const DONE = 1

const say = (words) => process.stdout.write(JSON.stringify(words) + '\n')

function fail(error) {
  process.stderr.write(`ethereumjs driver: ${error?.stack ?? error}\n`)
  process.exit(1)
}

/** A promise and the function that keeps it. */
function promise() {
  let keep
  const kept = new Promise((resolve) => (keep = resolve))
  return { kept, keep }
}

/** Keeps its promise after so many ticks. */
function countdown(count) {
  const { kept, keep } = promise()
  return { over: kept, tick: () => --count === 0 && keep() }
}

/** The capability bench/1.  The library makes one for each peer; what it does is set by the side. */
class Bench {
  constructor(version, peer, send) {
    this.peer = peer
    this._send = send
    this.received = () => {}
  }

  _handleMessage(code, payload) {
    this.received(code, payload)
  }

  send(code, payload) {
    this._send(code, snappy.compress(payload))
  }
}

function newRLPx(port = null) {
  const rlpx = new RLPx(Uint8Array.from(randomBytes(32)), {
    capabilities: [{ name: 'bench', version: 1, length: 2, constructor: Bench }],
    common: { customCrypto: {} },
    listenPort: port,
    maxPeers: 2000,
  })
  rlpx.events.on('error', fail)
  rlpx.events.on('peer:error', (peer, error) => error.code !== 'ECONNRESET' && fail(error))
  return rlpx
}

/** Resident memory in KiB, after giving back what can be given back. */
function rss() {
  global.gc()
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1])
}

/** Says that the warm-up is over, waits for the word to go, measures the units, and stays until dismissed. */
async function run(units) {
  const idle = task.scenario === 'idle'
  say({ warm: true })
  await input.next()
  const resident = idle ? rss() : 0
  const used = process.cpuUsage()
  const begun = process.hrtime.bigint()
  await units()
  const wall = Number(process.hrtime.bigint() - begun) / 1e9
  const { user, system } = process.cpuUsage(used)
  const result = { units: task.count, wall, cpu: (user + system) / 1e6 }
  if (idle) {
    await sleep(1000)
    result.grown = rss() - resident
  }
  say(result)
  await input.next()
  process.exit(0)
}

async function serve() {
  const rlpx = newRLPx(task.port)
  const messages = task.scenario === 'messages'
  const [warm, done] = messages ? [1, 1] : [task.warmup, task.count]
  const phases = [countdown(warm), countdown(done)]
  let seen = 0
  const unit = () => phases[seen++ < warm ? 0 : 1].tick()

  function acknowledge(bench) {
    const left = [task.warmup, task.count]
    bench.received = (code, payload) => {
      if (payload.length !== task.size) fail(`got ${payload.length} bytes instead of ${task.size}`)
      if (--left[0] > 0) return
      left.shift()
      bench.send(DONE, Uint8Array.of(0xc0))
      unit()
    }
  }

  rlpx.events.on('peer:added', (peer) => (messages ? acknowledge(peer.getProtocols()[0]) : unit()))
  rlpx.listen(task.port, '127.0.0.1')
  await once(rlpx._server, 'listening')
  say({ enode: `enode://${Buffer.from(rlpx.id).toString('hex')}@127.0.0.1:${task.port}` })
  await phases[0].over
  await run(() => phases[1].over)
}

/** One connection, with Hello both ways. */
async function connect(rlpx) {
  const { username, hostname, port } = new URL(task.enode)
  const added = once(rlpx.events, 'peer:added')
  await rlpx.connect({ id: Uint8Array.from(Buffer.from(username, 'hex')), address: hostname, tcpPort: Number(port) })
  const [peer] = await added
  return peer
}

/** Connects and hangs up.  The identities rotate, so that none comes back before its last connection is gone. */
async function dialHandshakes() {
  const identities = Array.from({ length: 64 }, () => newRLPx())
  async function handshakes(total) {
    let left = total
    const worker = async () => {
      while (left-- > 0) {
        const rlpx = identities.shift()
        const peer = await connect(rlpx)
        peer._socket.destroy()
        identities.push(rlpx)
      }
    }
    await Promise.all(Array.from({ length: task.parallel }, worker))
  }
  await handshakes(task.warmup)
  await run(() => handshakes(task.count))
}

async function dialIdle() {
  const identities = Array.from({ length: task.warmup + task.count }, () => newRLPx())
  const each = async (some) => {
    for (const rlpx of some) await connect(rlpx)
  }
  await each(identities.slice(0, task.warmup))
  await run(() => each(identities.slice(task.warmup)))
}

async function dialMessages() {
  const payload = Uint8Array.from(randomBytes(task.size))
  const peer = await connect(newRLPx())
  const [bench] = peer.getProtocols()
  async function send(count) {
    const acknowledged = promise()
    bench.received = (code) => (code === DONE ? acknowledged.keep() : fail(`got code ${code}`))
    for (let i = 0; i < count; i++) {
      bench.send(DATA, payload)
      if (peer._socket.writableNeedDrain) await once(peer._socket, 'drain')
    }
    await acknowledged.kept
  }
  await send(task.warmup)
  await run(() => send(task.count))
}

const parts = { serve, handshakes: dialHandshakes, idle: dialIdle, messages: dialMessages }
parts[task.role === 'serve' ? 'serve' : task.scenario]().catch(fail)
