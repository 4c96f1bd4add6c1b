// Answers in a benchmark with ChainSafe's discovery v5; see benchmarks/drivers.py for the words that it and the harness
// exchange.
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

// NODE_PATH says where the packages are, but import does not look there
const installed = (name) => import(pathToFileURL(`${process.env.NODE_PATH}/${name}/lib/index.js`))
const { Discv5 } = await installed('@chainsafe/discv5')
const { SignableENR } = await installed('@chainsafe/enr')

const { port } = JSON.parse(process.argv[2])

const say = (words) => process.stdout.write(JSON.stringify(words) + '\n')

const raw = Uint8Array.from(randomBytes(32))
const enr = SignableENR.createV4(raw)
enr.ip = '127.0.0.1'
enr.udp = enr.tcp = port
const discv5 = Discv5.create({
  enr,
  privateKey: { type: 'secp256k1', raw },
  bindAddrs: { ip4: enr.getLocationMultiaddr('udp4') },
})
await discv5.start()
say({ enode: null, enr: enr.encodeTxt() })

createInterface({ input: process.stdin })
  .on('line', () => {
    const { user, system } = process.cpuUsage()
    say({ cpu: (user + system) / 1e6 })
  })
  .on('close', () => process.exit(0))
