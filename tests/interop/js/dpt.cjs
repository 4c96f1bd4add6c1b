// One discv4 peer made of EthereumJS's devp2p library.
//
//   dpt.cjs PORT [--bootnode ENODE]...
//
// Prints one line of JSON for each thing that happens, named by its "event".  Does what lines of JSON on its input
// say: {"do": "ping", "enode": ...}, {"do": "find", "enode": ..., "target": 64 bytes in hex} and {"do": "table"}.
'use strict'

const { randomBytes } = require('node:crypto')
const { createInterface } = require('node:readline')
const { parseArgs } = require('node:util')
const { DPT } = require('@ethereumjs/devp2p')

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { bootnode: { type: 'string', multiple: true, default: [] } },
})
const port = Number(positionals[0])

const say = (event, detail) => process.stdout.write(JSON.stringify({ event, ...detail }) + '\n')
const hex = (bytes) => Buffer.from(bytes).toString('hex')
const fromHex = (text) => Uint8Array.from(Buffer.from(text.replace(/^0x/, ''), 'hex'))
const wrong = (error) => say('error', { message: String(error?.message ?? error) })
const shown = ({ id, address, udpPort }) => ({ id: hex(id), address, port: udpPort })

function parse(enode) {
  const { username, hostname, port } = new URL(enode)
  return { id: fromHex(username), address: hostname, udpPort: Number(port), tcpPort: Number(port) }
}

const dpt = new DPT(Uint8Array.from(randomBytes(32)), {
  endpoint: { address: '127.0.0.1', udpPort: port, tcpPort: port },
  refreshInterval: 5000, // each node that it knows is asked for others so often
})

dpt.events.on('listening', () => {
  say('listening', { enode: `enode://${hex(dpt.id)}@127.0.0.1:${port}` })
  for (const enode of values.bootnode) dpt.bootstrap(parse(enode))
})
dpt.events.on('peer:added', (peer) => say('added', shown(peer)))
dpt.events.on('peer:removed', (peer) => say('removed', shown(peer)))
dpt.events.on('error', wrong)

// Whom a Neighbors packet names.  The library's event for it comes some time after a stranger's Ping too.
const NEIGHBORS = 4
const receive = dpt._server._handler
let from = null
dpt._server._handler = function (packet, { port }) {
  from = packet[97] === NEIGHBORS ? port : null
  receive.apply(this, arguments)
  from = null
}
dpt._server.events.on('peers', (peers) => {
  if (from === null) return
  say('named', { from, nodes: peers.map(({ address, udpPort }) => ({ address, port: udpPort })) })
})

const commands = {
  ping: ({ enode }) => dpt._server.ping(parse(enode)).then((peer) => say('pong', shown(peer)), wrong),
  find: ({ enode, target }) => dpt._server.findneighbours(parse(enode), fromHex(target)),
  table: () => say('table', { nodes: dpt.getPeers().map(shown) }),
}
createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line)
  commands[command.do](command)
})

process.on('SIGTERM', () => process.exit(0))
dpt.bind(port, '127.0.0.1')
