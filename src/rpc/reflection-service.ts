import { type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { nestedTypes } from '@bufbuild/protobuf/reflect';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code, type HandlerContext, type ServiceImpl } from '@connectrpc/connect';
import { drainingError } from '../core/kernel/errors.ts';
import { file_google_rpc_error_details } from '../gen/google/rpc/error_details_pb.js';
import { ServerReflection, type ServerReflectionRequest } from '../gen/grpc/reflection/v1/reflection_pb.js';
import { ServerReflection as ServerReflectionAlpha } from '../gen/grpc/reflection/v1alpha/reflection_pb.js';
import { type StreamControl, streamControlOf } from '../transport/call.ts';

/** The names of files and symbols are short. What was asked is sent back with its answer. */
const limits = { serverReflectionInfo: { bytes: 1024 } };

/**
 * Server reflection, v1 and v1alpha, of these services, of itself, and of the messages that tell of errors. It is fed the
 * descriptors of the generated code, whose comments are not in it. `end` ends its streams, which last as long as their callers like, as DRAINING.
 */
export function reflectionServices(services: readonly DescService[]) {
  const served = [...services, ServerReflection, ServerReflectionAlpha];
  const known = new Known([...served.map(({ file }) => file), file_google_rpc_error_details]);
  const open = new Set<StreamControl>();
  async function* serverReflectionInfo(requests: AsyncIterable<ServerReflectionRequest>, context: HandlerContext) {
    const control = streamControlOf(context);
    open.add(control);
    control.onClose(() => open.delete(control));
    for await (const request of requests) {
      const { $typeName, $unknown, messageRequest, ...asked } = request;
      yield {
        validHost: request.host,
        originalRequest: { ...asked, messageRequest },
        messageResponse: answerOf(messageRequest, served, known),
      };
    }
  }
  // The messages of the two versions differ in their names only.
  const impl = { serverReflectionInfo } as unknown as ServiceImpl<DescService>;
  return {
    services: [ServerReflection, ServerReflectionAlpha].map((desc) => ({ desc: desc as DescService, impl, limits })),
    end: () => {
      for (const control of open) control.end(drainingError());
    },
  };
}

function answerOf(asked: ServerReflectionRequest['messageRequest'], served: readonly DescService[], known: Known) {
  switch (asked.case) {
    case 'fileByFilename':
      return descriptors(known.named(asked.value), known);
    case 'fileContainingSymbol':
      return descriptors(known.declaring(asked.value), known);
    case 'fileContainingExtension':
      return error(Code.NotFound, 'no message here has extensions');
    case 'allExtensionNumbersOfType':
      if (!known.declaring(asked.value)) return error(Code.NotFound, 'no such type here');
      return {
        case: 'allExtensionNumbersResponse',
        value: { baseTypeName: asked.value, extensionNumber: [] },
      } as const;
    case 'listServices':
      return {
        case: 'listServicesResponse',
        value: { service: served.map(({ typeName }) => ({ name: typeName })) },
      } as const;
    case undefined:
      return error(Code.InvalidArgument, 'the request asks for nothing: set one of message_request');
  }
}

function descriptors(file: DescFile | undefined, known: Known) {
  if (!file) return error(Code.NotFound, 'no such file or symbol here');
  return { case: 'fileDescriptorResponse', value: { fileDescriptorProto: known.withDependencies(file) } } as const;
}

function error(errorCode: Code, errorMessage: string) {
  return { case: 'errorResponse', value: { errorCode, errorMessage } } as const;
}

/** Files and what they declare. */
class Known {
  readonly #files = new Map<string, DescFile>();
  readonly #symbols = new Map<string, DescFile>();
  readonly #bytes = new Map<DescFile, Uint8Array<ArrayBuffer>>();

  constructor(files: readonly DescFile[]) {
    for (const file of files) this.#add(file);
  }

  named(name: string): DescFile | undefined {
    return this.#files.get(name);
  }

  /** The file that declares a service, a method of one, a message or an enum by this full name. */
  declaring(symbol: string): DescFile | undefined {
    return this.#symbols.get(symbol);
  }

  /** The FileDescriptorProtos of a file and of all that it imports. */
  withDependencies(file: DescFile): Uint8Array<ArrayBuffer>[] {
    const all = new Set([file]);
    for (const one of all) for (const dependency of one.dependencies) all.add(dependency);
    return [...all].map((one) => this.#bytesOf(one));
  }

  #bytesOf(file: DescFile): Uint8Array<ArrayBuffer> {
    const bytes = this.#bytes.get(file) ?? toBinary(FileDescriptorProtoSchema, file.proto);
    this.#bytes.set(file, bytes);
    return bytes;
  }

  #add(file: DescFile): void {
    const name = `${file.name}.proto`;
    if (this.#files.has(name)) return;
    this.#files.set(name, file);
    for (const declared of nestedTypes(file)) {
      this.#symbols.set(declared.typeName, file);
      if (declared.kind === 'service')
        for (const method of declared.methods) this.#symbols.set(`${declared.typeName}.${method.name}`, file);
    }
    for (const dependency of file.dependencies) this.#add(dependency);
  }
}
