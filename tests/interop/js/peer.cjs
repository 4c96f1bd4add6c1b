// One peer made of EthereumJS's devp2p library: RLPx, Hello and an eth Status both ways.
//
//   peer.cjs listen PORT | dial ENODE  --network-id N --genesis HASH --fork-hash HASH --fork-next N --td N --head HASH
//                                      [--version 68]
//
// Prints one line of JSON for each thing that happens, named by its "event".
'use strict'

const { randomBytes } = require('node:crypto')
const { parseArgs } = require('node:util')
const { DISCONNECT_REASON, ETH, RLPx } = require('@ethereumjs/devp2p')

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    'network-id': { type: 'string' },
    genesis: { type: 'string' },
    'fork-hash': { type: 'string' },
    'fork-next': { type: 'string', default: '0' },
    td: { type: 'string', default: '0' },
    head: { type: 'string' },
    version: { type: 'string', default: '68' },
  },
})
const [mode, target] = positionals
const forkHash = values['fork-hash']
const forkNext = BigInt(values['fork-next'])

// What the library asks of a chain's rules, for a chain whose one fork id is given.
const rules = {
  customCrypto: {},
  chainId: () => BigInt(values['network-id']),
  hardfork: () => 'given',
  hardforkBlock: () => 0n,
  forkHash: () => forkHash,
  nextHardforkBlockOrTimestamp: () => (forkNext === 0n ? null : forkNext),
  hardforkForForkHash: (hash) => (hash === forkHash ? { name: 'given' } : null),
  hardforkGteHardfork: () => true,
}

const reasons = Object.fromEntries(Object.entries(DISCONNECT_REASON).map(([name, code]) => [code, name]))
const say = (event, detail) => process.stdout.write(JSON.stringify({ event, ...detail }) + '\n')
const hex = (bytes) => '0x' + Buffer.from(bytes).toString('hex')
const fromHex = (text) => Uint8Array.from(Buffer.from(text.replace(/^0x/, ''), 'hex'))
const number = (bytes) => BigInt(bytes.length === 0 ? 0 : hex(bytes)).toString()
const big = (text) => {
  const digits = BigInt(text).toString(16)
  return text === '0' ? new Uint8Array(0) : fromHex(digits.length % 2 === 0 ? digits : '0' + digits)
}

const rlpx = new RLPx(Uint8Array.from(randomBytes(32)), {
  capabilities: [ETH[`eth${values.version}`]],
  common: rules,
  listenPort: mode === 'listen' ? Number(target) : null,
  maxPeers: 10,
})

rlpx.events.on('peer:added', (peer) => {
  const hello = peer.getHelloMessage()
  say('hello', {
    version: hello.protocolVersion,
    client: hello.clientId,
    capabilities: hello.capabilities.map(({ name, version }) => `${name}/${version}`),
    port: hello.port,
    id: hex(hello.id),
  })
  const [eth] = peer.getProtocols()
  eth.events.on('status', ({ chainId, td, bestHash, genesisHash, forkId }) =>
    say('status', {
      version: eth.getVersion(),
      networkId: number(chainId),
      td: number(td),
      head: hex(bestHash),
      genesis: hex(genesisHash),
      forkHash: hex(forkId[0]),
      forkNext: number(forkId[1]),
    })
  )
  eth.events.on('message', (code) => code !== 0 && say('message', { code }))
  eth.sendStatus({ td: big(values.td), bestHash: fromHex(values.head), genesisHash: fromHex(values.genesis) })
})
rlpx.events.on('peer:removed', (peer, reason, byUs) =>
  say('disconnect', { reason: reason ?? null, name: reasons[reason] ?? null, byUs: byUs === true })
)
rlpx.events.on('peer:error', (peer, error) => say('error', { message: String(error.message ?? error) }))
rlpx.events.on('error', (error) => say('error', { message: String(error.message ?? error) }))

if (mode === 'listen') {
  rlpx.events.on('listening', () => say('listening', { enode: `enode://${hex(rlpx.id).slice(2)}@127.0.0.1:${target}` }))
  rlpx.listen(Number(target), '127.0.0.1')
} else {
  const { username, hostname, port } = new URL(target)
  rlpx
    .connect({ id: fromHex(username), address: hostname, tcpPort: Number(port) })
    .then(() => say('connected', {}), (error) => say('error', { message: String(error.message ?? error) }))
}
process.on('SIGTERM', () => process.exit(0))
