import { create, createFileRegistry, type DescService } from '@bufbuild/protobuf';
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  file_google_protobuf_wrappers,
} from '@bufbuild/protobuf/wkt';

const STRING = '.google.protobuf.StringValue';

/** test.Echo: Say (unary), Chat (bidirectional), and Gather (client-streaming) when asked for; all take and give a StringValue. */
export function echo(withGather = false): DescService {
  const method = (name: string, clientStreaming: boolean, serverStreaming: boolean) => ({
    name,
    inputType: STRING,
    outputType: STRING,
    clientStreaming,
    serverStreaming,
  });
  const file = create(FileDescriptorProtoSchema, {
    name: 'test.proto',
    package: 'test',
    syntax: 'proto3',
    dependency: ['google/protobuf/wrappers.proto'],
    service: [
      {
        name: 'Echo',
        method: [
          method('Say', false, false),
          method('Chat', true, true),
          ...(withGather ? [method('Gather', true, false)] : []),
        ],
      },
    ],
  });
  const set = create(FileDescriptorSetSchema, { file: [file_google_protobuf_wrappers.proto, file] });
  const service = createFileRegistry(set).getService('test.Echo');
  if (!service) throw new Error('no service');
  return service;
}
