// feed-server.mjs ADDRESS CERT KEY DIRECTORY: serves the files of a directory over HTTPS on port 8443, and prints a line when it
// listens. A file `redirect` holds a URL that every request is redirected to.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { basename, join } from 'node:path'

const [address, cert, key, directory] = process.argv.slice(2)

function contentOf(name) {
  try {
    return readFileSync(join(directory, name))
  } catch {
    return undefined
  }
}

createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (request, response) => {
  const redirect = contentOf('redirect')
  const content = contentOf(basename(request.url))
  if (redirect) response.writeHead(302, { location: redirect.toString().trim() }).end()
  else if (content) response.writeHead(200).end(content)
  else response.writeHead(404).end()
}).listen(8443, address, () => process.stdout.write('listening\n'))
