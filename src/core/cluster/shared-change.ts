import { type Moment, wallOf } from '../kernel/timeline.ts';
import type { AppRecord } from '../tokens/app-record.ts';
import { mintBegun } from '../tokens/minting.ts';
import type { Settings, Trouble } from '../tokens/ports.ts';
import { type MintRules, type RecordChange, type Reduced, reduce } from '../tokens/record-change.ts';
import { conclude, intend } from './intents.ts';
import { land } from './landing.ts';
import { isBehind, restored } from './restore.ts';
import { withShared } from './shared-part.ts';

/** A change of a record that replicas share, as data. */
export type SharedChange =
  | RecordChange
  /** WeChat refuses the token of this generation. */
  | { readonly type: 'mark_dead'; readonly generation: number; readonly warning: string }
  /** A refresh of this generation failed. */
  | { readonly type: 'mark_trouble'; readonly generation: number; readonly trouble: Trouble }
  /** The store came back without what was known of it. */
  | { readonly type: 'restore'; readonly known: AppRecord }
  /** A generation was published, with this token, and the store does not have it. Nobody is sent an older one. */
  | { readonly type: 'keep_generation'; readonly generation: number; readonly value: string | undefined };

/** Makes a change of a record at a moment, as `reduce` does. */
export function reduceShared(
  record: AppRecord,
  change: SharedChange,
  moment: Moment,
  rules: MintRules,
): Reduced<SharedChange> {
  switch (change.type) {
    case 'mark_dead': {
      const { generation, warning } = change;
      return { record: record.generation === generation ? withShared(record, { dead: true, warning }) : record };
    }
    case 'mark_trouble': {
      // Another replica may have refreshed it meanwhile, and then nothing is the matter.
      const { generation, trouble } = change;
      return { record: record.generation === generation ? withShared(record, { trouble }) : record };
    }
    case 'restore':
      return { record: isBehind(record, change.known) ? restored(change.known, record) : record };
    case 'keep_generation': {
      const { generation, value } = change;
      if (record.generation >= generation) return { record };
      const isSame = record.current?.value === value;
      return { record: { ...record, generation: isSame ? generation : generation + 1 } };
    }
    default:
      return reduce(record, change, moment, rules);
  }
}

/** The rules of a replica that shares its store: each mint is recorded as an intent, and lands by the rules of landing.ts. */
export function sharedRules(settings: Settings, replica: string): MintRules {
  const { overlapMs } = settings;
  return {
    settings,
    begin: (record, { wish }, moment) => intend(mintBegun(record, wish, settings), replica, moment.wall),
    end: (record, { intent, call, how }, moment) =>
      intent ? conclude(record, intent, call, how, { time: moment.wall, overlapMs }) : record,
    land: (record, { issued, base }, context, moment) =>
      land(record, issued, context, {
        base,
        intent: issued.intent,
        sentTime: wallOf(moment, issued.sentAt),
        time: moment.wall,
        answeredTime: wallOf(moment, issued.answeredAt + moment.leaptMs),
        currentTime: record.current ? wallOf(moment, record.current.issuedAt) : undefined,
        overlapMs,
      }),
  };
}
