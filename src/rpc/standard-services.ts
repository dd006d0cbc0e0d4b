import type { DescService } from '@bufbuild/protobuf';
import { Health } from './health-service.ts';
import { reflectionServices } from './reflection-service.ts';

/** gRPC's standard services beside those that are mounted: grpc.health.v1, which is to be set, and server reflection. */
export function standardServices(mounted: readonly { readonly desc: DescService }[]) {
  const descs = mounted.map(({ desc }) => desc);
  const health = new Health(descs.map(({ typeName }) => typeName));
  return { health, services: [health, ...reflectionServices([...descs, health.desc])] };
}
