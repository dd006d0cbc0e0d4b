import { create, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import { type Any, anyPack } from '@bufbuild/protobuf/wkt';
import { type Code, ConnectError, type HandlerContext, type ServiceImpl } from '@connectrpc/connect';
import type { Clock } from '../../src/core/kernel/clock.ts';
import {
  type BidiStreamRequest,
  BidiStreamRequestSchema,
  type ClientStreamRequest,
  ClientStreamRequestSchema,
  type ConformancePayload_RequestInfo,
  ConformancePayload_RequestInfoSchema,
  type ConformanceService,
  type Error as ErrorDefinition,
  type Header,
  IdempotentUnaryRequestSchema,
  ServerStreamRequestSchema,
  type StreamResponseDefinition,
  UnaryRequestSchema,
  type UnaryResponseDefinition,
} from './gen/connectrpc/conformance/v1/service_pb.js';

/** The suite's service, as the comments of its proto ask for it; Unimplemented is not. */
export function conformanceService(clock: Clock): Omit<ServiceImpl<typeof ConformanceService>, 'unimplemented'> {
  const pause = (ms = 0) =>
    ms > 0 ? new Promise<void>((resolve) => void clock.schedule(ms, resolve)) : Promise.resolve();

  async function one<Desc extends DescMessage>(
    desc: Desc,
    requests: readonly MessageShape<Desc>[],
    definition: UnaryResponseDefinition | undefined,
    context: HandlerContext,
  ) {
    const requestInfo = infoOf(desc, requests, context);
    setHeaders(definition, context);
    await pause(definition?.responseDelayMs);
    const response = definition?.response;
    if (response?.case === 'error') throw errorOf(response.value, requestInfo);
    return { payload: { data: response?.case === 'responseData' ? response.value : new Uint8Array(), requestInfo } };
  }

  return {
    unary: (request, context) => one(UnaryRequestSchema, [request], request.responseDefinition, context),
    idempotentUnary: (request, context) =>
      one(IdempotentUnaryRequestSchema, [request], request.responseDefinition, context),

    async clientStream(stream, context) {
      const requests: ClientStreamRequest[] = [];
      for await (const request of stream) requests.push(request);
      return one(ClientStreamRequestSchema, requests, requests[0]?.responseDefinition, context);
    },

    async *serverStream(request, context) {
      const definition = request.responseDefinition;
      setHeaders(definition, context);
      let requestInfo: ConformancePayload_RequestInfo | undefined = infoOf(
        ServerStreamRequestSchema,
        [request],
        context,
      );
      for (const data of definition?.responseData ?? []) {
        await pause(definition?.responseDelayMs);
        yield { payload: { data, ...(requestInfo && { requestInfo }) } };
        requestInfo = undefined;
      }
      if (definition?.error) throw errorOf(definition.error, requestInfo);
    },

    async *bidiStream(stream, context) {
      let definition: StreamResponseDefinition | undefined;
      let unanswered: BidiStreamRequest[] = [];
      let told: ConformancePayload_RequestInfo | undefined;
      let fullDuplex = false;
      let first = true;
      let sent = 0;
      const info = () => {
        const requestInfo = infoOf(BidiStreamRequestSchema, unanswered, context);
        unanswered = [];
        // Later answers repeat the requests only.
        return sent === 0
          ? requestInfo
          : create(ConformancePayload_RequestInfoSchema, { requests: requestInfo.requests });
      };
      for await (const request of stream) {
        if (first) {
          definition = request.responseDefinition;
          ({ fullDuplex } = request);
          setHeaders(definition, context);
          first = false;
        }
        unanswered.push(request);
        if (!fullDuplex) continue;
        const data = definition?.responseData[sent];
        if (!data) break;
        await pause(definition?.responseDelayMs);
        yield { payload: { data, requestInfo: info() } };
        sent++;
      }
      for (const data of definition?.responseData.slice(sent) ?? []) {
        await pause(definition?.responseDelayMs);
        told = sent === 0 ? info() : undefined;
        yield { payload: { data, ...(told && { requestInfo: told }) } };
        sent++;
      }
      if (definition?.error) throw errorOf(definition.error, sent === 0 ? info() : undefined);
    },
  };
}

function infoOf<Desc extends DescMessage>(
  desc: Desc,
  requests: readonly MessageShape<Desc>[],
  context: HandlerContext,
): ConformancePayload_RequestInfo {
  const timeoutMs = context.timeoutMs();
  const query = new URL(context.url).searchParams;
  return create(ConformancePayload_RequestInfoSchema, {
    requestHeaders: headersOf(context.requestHeader),
    ...(timeoutMs !== undefined && { timeoutMs: BigInt(Math.max(0, Math.floor(timeoutMs))) }),
    requests: requests.map((request) => anyPack(desc, request)),
    ...(context.requestMethod === 'GET' && { connectGetInfo: { queryParams: headersOf(query) } }),
  });
}

function headersOf(fields: Headers | URLSearchParams) {
  return [...fields].map(([name, value]) => ({ name, value: value.split(/, ?/) }));
}

function setHeaders(
  definition: { readonly responseHeaders: Header[]; readonly responseTrailers: Header[] } | undefined,
  context: HandlerContext,
): void {
  for (const { name, value } of definition?.responseHeaders ?? [])
    for (const one of value) context.responseHeader.append(name, one);
  for (const { name, value } of definition?.responseTrailers ?? [])
    for (const one of value) context.responseTrailer.append(name, one);
}

function errorOf({ code, message, details }: ErrorDefinition, info: ConformancePayload_RequestInfo | undefined) {
  const error = new ConnectError(message ?? '', code as number as Code);
  error.details = details.map(({ typeUrl, value }: Any) => ({ type: typeUrl.replace(/^.*\//, ''), value }));
  if (info) error.details.push({ desc: ConformancePayload_RequestInfoSchema, value: info });
  return error;
}
