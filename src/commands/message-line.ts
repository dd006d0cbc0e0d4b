import { type DescMessage, fromJson, type JsonValue, type MessageShape } from '@bufbuild/protobuf';
import type { FileLine } from './lines.ts';

/** The message that a line of a file has in proto3 JSON, or what is wrong with the line. */
export type Parsed<Desc extends DescMessage> = { readonly message: MessageShape<Desc> } | { readonly problem: string };

/** Reads a line. A problem never repeats what stands in the line: it may be an openid. */
export function parseLine<Desc extends DescMessage>(desc: Desc, { text }: FileLine): Parsed<Desc> {
  if (text === undefined) return { problem: 'is longer than 1 MiB' };
  let json: JsonValue;
  try {
    json = JSON.parse(text);
  } catch {
    return { problem: 'is not JSON' };
  }
  try {
    return { message: fromJson(desc, json) };
  } catch (error) {
    return { problem: `is not the proto3 JSON of a ${desc.name}${place(String(error))}` };
  }
}

/** The field that the library complains of, without the value. */
function place(complaint: string): string {
  const unknown = /key "([A-Za-z]\w{0,63})" is unknown/.exec(complaint)?.[1];
  if (unknown !== undefined) return `: it has no field ${unknown}`;
  const wrong = /field (?:[\w.]+\.)?(\w+) from JSON/.exec(complaint)?.[1];
  return wrong === undefined ? '' : `: the value of ${wrong} is of a wrong kind`;
}
