import { expect, test } from 'vitest'
import { parseMilliseconds } from '../../../src/model/duration.ts'
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

test.each([
  ['0ms', 0],
  ['250ms', 250],
  ['90s', 90_000],
  ['2m', 120_000],
  ['24h', 86_400_000],
])('%s is %i milliseconds', (text, value) => expect(parseMilliseconds(text)).toBe(value))

test.each(['', '5', 's', '-1s', '1.5s', '1d', ' 1s', '1 s', '1S', '9999999999999999ms'])(
  '%j is not a duration',
  (text) => {
    expect(parseMilliseconds(text)).toBeUndefined()
  },
)
