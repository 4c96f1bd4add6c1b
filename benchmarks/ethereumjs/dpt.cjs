// Answers in a benchmark with the discovery v4 of EthereumJS's devp2p library; see benchmarks/drivers.py for the words
// that it and the harness exchange.
'use strict'

const { randomBytes } = require('node:crypto')
const { createInterface } = require('node:readline')
const { DPT } = require('@ethereumjs/devp2p')

const { port } = JSON.parse(process.argv[2])

const say = (words) => process.stdout.write(JSON.stringify(words) + '\n')

const dpt = new DPT(Uint8Array.from(randomBytes(32)), {
  endpoint: { address: '127.0.0.1', udpPort: port, tcpPort: port },
})
dpt.events.on('listening', () =>
  say({ enode: `enode://${Buffer.from(dpt.id).toString('hex')}@127.0.0.1:${port}`, enr: null })
)
dpt.events.on('error', (error) => process.stderr.write(`ethereumjs driver: ${error?.stack ?? error}\n`))
dpt.bind(port, '127.0.0.1')

createInterface({ input: process.stdin })
  .on('line', () => {
    const { user, system } = process.cpuUsage()
    say({ cpu: (user + system) / 1e6 })
  })
  .on('close', () => process.exit(0))
