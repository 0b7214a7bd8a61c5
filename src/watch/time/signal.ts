// The end of the daemon as a promise.

/** Resolves to the name of the signal when it arrives. */
export const given = (signal: AbortSignal | undefined): Promise<string> =>
  new Promise((resolve) => {
    const settle = (): void => resolve(String(signal?.reason))
    if (signal?.aborted) settle()
    else signal?.addEventListener('abort', settle, { once: true })
  })
