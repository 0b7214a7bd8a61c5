// An HTTPS server of feeds that answers as a test says, with the certificate of a test's own authority.

import { once } from 'node:events'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { Certificates } from './certificates.ts'

type Answer = (response: ServerResponse, request: IncomingMessage) => void

export class FeedServer {
  /** Answers by path; an unknown path is 404. */
  readonly answers = new Map<string, Answer>()
  readonly requests: IncomingMessage[] = []
  readonly certificates: Certificates
  readonly #server: Server

  private constructor(certificates: Certificates, server: Server) {
    this.certificates = certificates
    this.#server = server
  }

  /** `host`: the address to listen on. */
  static async open(host = '127.0.0.1'): Promise<FeedServer> {
    const certificates = new Certificates()
    certificates.authority('authority')
    certificates.certificate('server', 'authority', `DNS:localhost,IP:127.0.0.1,IP:${host}`)
    const listener: RequestListener = (request, response) => {
      opened.requests.push(request)
      const answer = opened.answers.get(request.url ?? '')
      if (answer) answer(response, request)
      else response.writeHead(404).end()
    }
    const server = createServer(certificates.pair('server'), listener)
    const opened = new FeedServer(certificates, server)
    server.listen(0, host)
    await once(server, 'listening')
    return opened
  }

  /** The certificate of the authority. */
  get ca(): string {
    return this.certificates.file('authority.crt')
  }

  url(path: string, host = '127.0.0.1'): string {
    return `https://${host}:${(this.#server.address() as AddressInfo).port}${path}`
  }

  /** Answers with a text from now on. */
  serve(path: string, text: string | Buffer, headers: Readonly<Record<string, string>> = {}): void {
    this.answers.set(path, (response) => response.writeHead(200, headers).end(text))
  }

  close(): void {
    this.#server.closeAllConnections()
    this.#server.close()
    this.certificates.close()
  }
}
