import { type DescField, type DescMessage, fromJson, type JsonValue, type MessageShape } from '@bufbuild/protobuf';
import { TimestampSchema } from '@bufbuild/protobuf/wkt';
import type { FileLine } from './lines.ts';

/** The message that a line of a file has in proto3 JSON, or what is wrong with the line. */
export type Parsed<Desc extends DescMessage> = { readonly message: MessageShape<Desc> } | { readonly problem: string };

/** Reads a line. A problem never repeats what stands in the line: it may be an openid. */
export function parseLine<Desc extends DescMessage>(desc: Desc, line: FileLine): Parsed<Desc> {
  if ('problem' in line) return line;
  let json: JsonValue;
  try {
    json = JSON.parse(line.text);
  } catch {
    return { problem: 'is not JSON' };
  }
  try {
    return { message: fromJson(desc, json) };
  } catch (error) {
    return { problem: `is not the proto3 JSON of a ${desc.name}${place(desc, (error as Error).message)}` };
  }
}

/** The field that the library complains of, without the value, and what an enumeration may be. */
function place(desc: DescMessage, complaint: string): string {
  const [, kind, type = '', rest = ''] = /^cannot decode (\w+) ([\w.]+) from JSON: (.*)/s.exec(complaint) ?? [];
  const field = kind === 'field' ? undefined : fieldOf(desc, type);
  const unknown = /^key "([A-Za-z]\w{0,63})" is unknown$/.exec(rest)?.[1];
  if (unknown !== undefined) return `: ${field?.name ?? 'it'} has no field ${unknown}`;
  if (kind === 'field') return `: the value of ${type.replace(/.*\./, '')} is of a wrong kind`;
  if (kind === 'oneof') return ': it has two channels; leave one out';
  if (field?.enum) return `: ${field.name} must be ${field.enum.values.map(({ name }) => name).join(', ')}`;
  if (field?.message?.typeName === TimestampSchema.typeName) return `: ${field.name} must be such as ${TIME}`;
  return field ? `: the value of ${field.name} is of a wrong kind` : '';
}

const TIME = '"2026-01-31T08:00:00Z"';

/** The field of a message, or of one in it, that is of this type. */
function fieldOf({ fields }: DescMessage, type: string): DescField | undefined {
  const field = fields.find((each) => (each.enum ?? each.message)?.typeName === type);
  return field ?? fields.map(({ message }) => message && fieldOf(message, type)).find((found) => found);
}
