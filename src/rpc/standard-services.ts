import type { DescService } from '@bufbuild/protobuf';
import type { Access } from '../core/access/access.ts';
import { guarded } from './guarded.ts';
import { Health } from './health-service.ts';
import { HEALTH_NEEDS, REFLECTION_NEEDS } from './method-rights.ts';
import { reflectionServices } from './reflection-service.ts';

/**
 * gRPC's standard services beside those that are mounted: grpc.health.v1, which is to be set, and server reflection. `end`
 * ends the streams of both.
 */
export function standardServices(mounted: readonly { readonly desc: DescService }[], access: Access) {
  const descs = mounted.map(({ desc }) => desc);
  const health = new Health(descs.map(({ typeName }) => typeName));
  const reflection = reflectionServices([...descs, health.desc]);
  return {
    health: {
      get watches() {
        return health.watches;
      },
      set: (serving: boolean) => health.set(serving),
      end: () => {
        health.end();
        reflection.end();
      },
    },
    services: [
      guarded(health, HEALTH_NEEDS, access),
      ...reflection.services.map((service) => guarded(service, REFLECTION_NEEDS, access)),
    ],
  };
}
