// Preloaded into a peer that listens on every interface whatever it is told: keeps it on loopback.
'use strict'

const dgram = require('node:dgram')
const net = require('node:net')

for (const [owner, method] of [
  [net.Server.prototype, 'listen'],
  [dgram.Socket.prototype, 'bind'],
]) {
  const original = owner[method]
  owner[method] = function (port, host, ...rest) {
    return original.call(this, port, host === '0.0.0.0' ? '127.0.0.1' : host, ...rest)
  }
}
