import { expect, test } from 'vitest'
import { formatEndpoint, parseEndpoint } from '../../../src/model/endpoint.ts'

test.each([
  ['127.0.0.1:9469', '127.0.0.1', 9469],
  ['0.0.0.0:1', '0.0.0.0', 1],
  ['[::1]:65535', '::1', 65_535],
  ['[2001:db8::1]:80', '2001:db8::1', 80],
])('%s is an endpoint, and formats back', (text, address, port) => {
  const endpoint = parseEndpoint(text)
  expect(endpoint).toEqual({ address, port })
  expect(endpoint && formatEndpoint(endpoint)).toBe(text)
})

test.each([
  ...['', ':9469', '127.0.0.1', '127.0.0.1:', '127.0.0.1:0', '127.0.0.1:65536', '127.0.0.1:x', '1.2.3:80'],
  ...['::1:9469', '[::1]', '[127.0.0.1]:80', '[::1%eth0]:80', 'localhost:80', '127.0.0.1:80 ', '[::g]:1'],
])('%j is not an endpoint', (text) => expect(parseEndpoint(text)).toBeUndefined())
