import { type DescFile, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { type Server, type ServerWritableStream, status } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation } from 'grpc-health-check';
import type { Service } from './mount.ts';

type HealthServer = Parameters<HealthImplementation['addToServer']>[0];
type HealthWatch = ServerWritableStream<unknown, unknown>;

/** grpc.health.v1 for each service and for the whole server (""). */
export class Health {
  readonly #names: readonly string[];
  readonly #health: HealthImplementation;
  readonly #watches = new Set<HealthWatch>();

  constructor(services: readonly Service[]) {
    this.#names = ['', ...services.map(({ desc }) => desc.typeName)];
    this.#health = new HealthImplementation(Object.fromEntries(this.#names.map((name) => [name, 'NOT_SERVING'])));
  }

  addTo(server: Server): void {
    const watches = this.#watches;
    const tracking: HealthServer = {
      addService(definition, implementation) {
        const { watch } = implementation as unknown as { watch(call: HealthWatch): void };
        const tracked = (call: HealthWatch) => {
          watches.add(call);
          call.once('cancelled', () => watches.delete(call));
          watch(call);
        };
        server.addService(definition as Parameters<Server['addService']>[0], { ...implementation, watch: tracked });
      },
    };
    this.#health.addToServer(tracking);
  }

  set(serving: boolean): void {
    for (const name of this.#names) this.#health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING');
  }

  /** Ends the watches, which the library keeps open for ever. */
  endWatches(): void {
    for (const call of this.#watches)
      call.emit('error', { code: status.UNAVAILABLE, details: 'the broker is shutting down' });
  }
}

/**
 * Server reflection, v1 and v1alpha. It is fed the descriptors of the generated code: those that proto-loader makes are
 * not understood by every client.
 */
export function addReflection(server: Server, services: readonly Service[]): void {
  const files = new Map<string, Buffer>();
  const collect = (file: DescFile): void => {
    if (files.has(file.name)) return;
    files.set(file.name, Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)));
    file.dependencies.forEach(collect);
  };
  for (const { desc } of services) collect(desc.file);
  const loaded = { lingpai: { fileDescriptorProtos: [...files.values()] } };
  new ReflectionService(loaded as unknown as ConstructorParameters<typeof ReflectionService>[0]).addToServer(server);
}
