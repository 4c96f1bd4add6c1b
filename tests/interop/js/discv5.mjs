// One discv5 peer made of ChainSafe's library.
//
//   discv5.mjs PORT [--bootnode ENR]...
//
// Prints one line of JSON for each thing that happens, named by its "event".  Does what lines of JSON on its input
// say: {"do": "ping" | "find" | "talk" | "lookup" | "table", "enr": ..., "distances": [...], "protocol": ...,
// "message": hex, "id": hex}.  Whoever talks to it hears his own words.
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

// NODE_PATH says where the packages are, but import does not look there
const installed = (name) => import(pathToFileURL(`${process.env.NODE_PATH}/${name}/lib/index.js`))
const { Discv5 } = await installed('@chainsafe/discv5')
const { ENR, SignableENR } = await installed('@chainsafe/enr')

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { bootnode: { type: 'string', multiple: true, default: [] } },
})

const say = (event, detail) => process.stdout.write(JSON.stringify({ event, ...detail }) + '\n')
const hex = (bytes) => Buffer.from(bytes).toString('hex')
const fromHex = (text) => Uint8Array.from(Buffer.from(text, 'hex'))
const wrong = (error) => say('error', { message: String(error?.message ?? error), code: error?.code ?? null })
const shown = (enr) => ({ id: enr.nodeId, enr: enr.encodeTxt() })

const raw = Uint8Array.from(randomBytes(32))
const enr = SignableENR.createV4(raw)
enr.ip = '127.0.0.1'
enr.udp = enr.tcp = Number(positionals[0])

const discv5 = Discv5.create({
  enr,
  privateKey: { type: 'secp256k1', raw },
  bindAddrs: { ip4: enr.getLocationMultiaddr('udp4') },
})

discv5.on('enrAdded', (enr) => say('added', shown(enr)))
discv5.on('discovered', (enr) => say('discovered', shown(enr)))
discv5.on('talkReqReceived', (from, _, { id, protocol, request }) => {
  say('asked', { id: from.nodeId, protocol: Buffer.from(protocol).toString(), message: hex(request) })
  discv5.sendTalkResp(from, id, request)
})

const commands = {
  async ping({ enr }) {
    const { enrSeq, addr } = await discv5.sendPing(ENR.decodeTxt(enr))
    say('pong', { seq: Number(enrSeq), ip: [...addr.ip.octets].join('.'), port: addr.port })
  },
  async find({ enr, distances }) {
    say('nodes', { nodes: (await discv5.sendFindNode(ENR.decodeTxt(enr), distances)).map(shown) })
  },
  async talk({ enr, protocol, message }) {
    say('answer', { message: hex(await discv5.sendTalkReq(ENR.decodeTxt(enr), fromHex(message), protocol)) })
  },
  async lookup({ id }) {
    say('closest', { nodes: (await discv5.findNode(id)).map(shown) })
  },
  async table() {
    say('table', { nodes: discv5.kadValues().map(shown) })
  },
}
createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line)
  commands[command.do](command).catch(wrong)
})

process.on('SIGTERM', () => process.exit(0))
await discv5.start()
say('listening', shown(enr))
for (const bootnode of values.bootnode) discv5.addEnr(bootnode)
