import { GrpcCall } from './grpc-call.ts';

/** A unary call. A handler that answers at once is answered for at once. */
export class UnaryCall extends GrpcCall {
  protected override handle(request: unknown): void {
    const response = this.rpc.impl(request, this);
    if (response instanceof Promise)
      response.then((later) => this.#reply(later)).catch((error: unknown) => this.fail(error));
    else this.#reply(response);
  }

  #reply(response: unknown): void {
    if (this.over) return;
    this.send(response);
    this.succeed();
  }
}
