import { type AddressInfo, createServer, type Server } from 'node:net';

/**
 * An HTTP proxy for the internet, as the environment of a company's machines names one. It does not know the broker, an
 * internal address: a service that asks it is lost.
 */
export class HttpProxy implements AsyncDisposable {
  /** How many connections were made to it. */
  asked = 0;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((socket) => {
      this.asked++;
      socket.destroy();
    });
  }

  static async start(): Promise<HttpProxy> {
    const proxy = new HttpProxy();
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  /** The environment that names it: to the C core (Python), to Go, and to a JVM. */
  get env(): Record<string, string> {
    const { port } = this.#server.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}`;
    return {
      ...{ http_proxy: url, https_proxy: url, HTTP_PROXY: url, HTTPS_PROXY: url, grpc_proxy: url },
      ...{ no_proxy: '', NO_PROXY: '', no_grpc_proxy: '' },
      JAVA_TOOL_OPTIONS: `-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=${port} -Dhttp.nonProxyHosts=`,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
